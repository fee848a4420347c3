"""What the kernel says of the broker under measurement, whose process id the scripts are given."""
import os
import pathlib
import re
import time

TICKS = 100  # of a second, in /proc/PID/stat; fixed on Linux


def own_cpu():
    """Processor seconds of this process, and of those that it has run to their end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Process:
    """One broker."""

    def __init__(self, pid):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def cpu(self):
        """User and system time so far, in seconds."""
        fields = (self.folder / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def mib(self):
        """Resident memory."""
        return int(re.search(r"VmRSS:\s+(\d+) kB", (self.folder / "status").read_text()).group(1)) / 1024

    def meter(self):
        return Meter(self)


class Meter:
    """Wall time and processor time of the broker since it was made."""

    def __init__(self, process):
        self.process, self.cpu_before, self.begun = process, process.cpu(), time.monotonic()

    def seconds(self):
        return time.monotonic() - self.begun

    def cpu(self):
        return self.process.cpu() - self.cpu_before

    def percent(self):
        """Of a core."""
        return self.cpu() / self.seconds() * 100
