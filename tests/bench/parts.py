"""The command line of the scripts that measure in parts."""
import argparse
import json
import pathlib
import shutil


def main(parts, about):
    """Runs the part that is named in an empty directory, and prints what it found as JSON."""
    options = argparse.ArgumentParser(description=about.splitlines()[0])
    options.add_argument("part", choices=list(parts))
    options.add_argument("directory", type=pathlib.Path)
    options.add_argument("--quick", action="store_true")
    args = options.parse_args()
    shutil.rmtree(args.directory, ignore_errors=True)
    args.directory.mkdir(parents=True)
    print(json.dumps(parts[args.part](args.directory, args.quick)))
