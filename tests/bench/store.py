"""Loops on the bucket by themselves: the examples of `crates/blob`, which ask the S3 server as a broker would."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.s3 import ACCESS, REGION, SECRET  # noqa: E402


def run(s3, binary, *args):
    """What it prints."""
    settings = {"ENDPOINT": s3.endpoint, "REGION": REGION, "ACCESS_KEY_ID": ACCESS, "SECRET_ACCESS_KEY": SECRET,
                "ALLOW_HTTP": "true"}
    environment = os.environ | {f"AWS_{key}": value for key, value in settings.items()}
    return subprocess.run([binary, *map(str, args)], env=environment, capture_output=True, text=True, check=True).stdout
