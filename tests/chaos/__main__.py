"""`python -m chaos`, run by `cargo xtask chaos`, which installs and builds what this needs."""
import argparse
import os
import pathlib
import random
import shutil
import signal
import sys
import time
import traceback

from harness.libraries import LIBRARIES

from .run import Chaos


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=30, help="how long it has a bad time")
    options.add_argument("--seed", type=int, help="what is done to whom; drawn by default")
    options.add_argument("--directory", type=pathlib.Path, required=True, help="for data, logs and histories; emptied first")
    args = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = random.randrange(1 << 32) if args.seed is None else args.seed
    shutil.rmtree(args.directory, ignore_errors=True)
    args.directory.mkdir(parents=True)
    # librdkafka says on stderr whom it does not reach, all the time.
    os.dup2(os.open(args.directory / "clients.log", os.O_WRONLY | os.O_CREAT), 2)
    print(f"seed {seed}, {args.minutes:g} minutes, in {args.directory}", flush=True)
    begun = time.monotonic()
    try:
        done = Chaos(args.directory, seed, args.minutes, lambda line: print(line, flush=True), LIBRARIES).run()
    except Exception:  # pylint: disable=broad-exception-caught; whatever it is, it is the verdict
        traceback.print_exc(file=sys.stdout)
        print(f"\nFAILED after {time.monotonic() - begun:.0f} s; histories and logs are in {args.directory}\n"
              f"again: cargo xtask chaos --minutes {args.minutes:g} --seed {seed}")
        sys.exit(1)
    for what in ("clients", "done"):
        for name, count in done[what].items():
            print(f"  {name:<34} {count:>10,}")
    print(f"\nnothing is wrong in {done['histories']} histories, after {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
