#!/usr/bin/env python3
"""A cluster on this machine, to try; run by `cargo xtask cluster`, which installs and builds what this needs.

Starts etcd, an S3 server, brokers and HAProxy in front of them, says where they are, and ends them all on Ctrl-C, or when
one of them ends of its own accord. The logs stay.
"""
import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.broker import binary  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.proxy import HAProxy  # noqa: E402

KAFKA, GRPC, HTTP, STEP = 9092, 9093, 9094, 100
# Past those of the ninth broker.
THE_ONE = 9992, 9993


def write_settings(broker):
    """As a file, so that the broker can be started again by hand."""
    file = broker.directory / "runnel.toml"
    lines = [f'{key.lower().replace("__", ".")} = "{value}"\n' for key, value in sorted(broker.settings.items())]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines))
    return file


def show(cluster, proxy):
    print(f"\n  {'':<9} {'Kafka':<15} {'gRPC':<15} {'HTTP':<15} {'pid':<7} log")
    for i, broker in enumerate(cluster.brokers):
        http = f"127.0.0.1:{broker.http_port}"
        print(f"  broker {i:<2} {broker.address:<15} {broker.grpc_address:<15} {http:<15} {broker.process.pid:<7} "
              f"{broker.log_file}")
    for name, process, at, log in [("etcd", cluster.etcd.process, cluster.etcd.address, cluster.etcd.log_file),
                                   ("S3", cluster.s3.process, cluster.s3.endpoint, cluster.s3.directory / "s3.log")]:
        print(f"  {name:<9} {at:<47} {process.pid:<7} {log}")
    print(f"  {'HAProxy':<9} {proxy.address:<15} {proxy.grpc_address:<31} {proxy.process.pid:<7} {proxy.log_file}")
    first, last = cluster.brokers[0], cluster.brokers[-1]
    again = f"{binary()} serve --config {last.directory / 'runnel.toml'}"
    print(f"""
  make a topic     {binary()} topic create try -p 6 --bootstrap {first.grpc_address}
  write            seq 100 | kcat -P -b {cluster.bootstrap()} -t try
  read             kcat -C -b {cluster.bootstrap()} -t try -e
  by one address   kcat -C -b {proxy.address} -t try -e
  who leads what   kcat -L -b {first.address}
  kill a broker    kill -9 {last.process.pid}
  start it again   {again}
  take a pause     kill -STOP {first.process.pid}; sleep 20; kill -CONT {first.process.pid}
  without etcd     kill -STOP {cluster.etcd.process.pid}; sleep 20; kill -CONT {cluster.etcd.process.pid}
  end everything   Ctrl-C
""", flush=True)


def watch(cluster, proxy):
    """Returns never: whoever is killed is told of and missed, and anything else that ends is a failure."""
    gone = set()
    while True:
        for i, broker in enumerate(cluster.brokers):
            status = broker.process.poll()
            if status is None or i in gone:
                continue
            gone.add(i)
            if status != 0 and status not in (-signal.SIGKILL, -signal.SIGTERM):
                sys.exit(f"error: broker {i} exited with {status}; the end of {broker.log_file}:\n{broker.log()[-3000:]}")
            print(f"  broker {i} has ended ({'stopped' if status == 0 else 'killed'})", flush=True)
        for name, process in [("etcd", cluster.etcd.process), ("the S3 server", cluster.s3.process),
                              ("HAProxy", proxy.process)]:
            if process.poll() is not None:
                sys.exit(f"error: {name} exited with {process.returncode}")
        time.sleep(0.1)


def end(cluster, proxy):
    """Asks brokers to stop, all at once, and ends them with the rest."""
    running = [broker for broker in cluster.brokers if broker.running()]
    for broker in running:
        broker.resume()  # one that takes a pause would not hear of it
        broker.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(Exception):
        for broker in running:
            broker.wait_exit(seconds=10)
    proxy.stop()
    cluster.close()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--brokers", type=int, default=3, help="how many")
    options.add_argument("--directory", type=pathlib.Path, required=True, help="for data and logs; emptied first")
    options.add_argument("--single-address", action="store_true", help="Kafka clients are told of HAProxy alone")
    options.add_argument("--free-ports", action="store_true", help="any ports, instead of the usual ones")
    args = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(args.directory, ignore_errors=True)
    usual = [(KAFKA + STEP * i, GRPC + STEP * i, HTTP + STEP * i) for i in range(args.brokers)]
    proxy = HAProxy(args.directory / "haproxy", None if args.free_ports else THE_ONE)
    settings = proxy.settings() if args.single_address else {}
    cluster = Cluster(args.directory, args.brokers, settings, None if args.free_ports else usual)
    try:
        print(f"starting etcd, an S3 server, {args.brokers} brokers and HAProxy in {args.directory} "
              f"({os.path.basename(binary())})")
        for broker in cluster.brokers:
            write_settings(broker)
        cluster.start_all()
        proxy.start(cluster.brokers)
        show(cluster, proxy)
        watch(cluster, proxy)
    finally:
        end(cluster, proxy)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except AssertionError as error:
        sys.exit(f"error: {error}")
