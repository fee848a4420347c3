"""Command-line tools."""
import os
import subprocess


def run(args, text=None):
    done = subprocess.run([str(a) for a in args], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{args}: {done.stderr[-2000:]}"
    return done.stdout


def java(main, *args, text=None):
    """A tool of Apache Kafka."""
    jvm = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    return run([*jvm, "-cp", os.environ["KAFKA_LIBS"] + "/*", f"org.apache.kafka.tools.{main}", *args], text)
