"""A file system of its own that is soon full."""
import os
import pathlib
import subprocess


class SmallDisk:
    """A tmpfs of `mib` MiB on a folder. Mounting needs root: without it the test fails and says so."""

    def __init__(self, folder, mib):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.ballast = self.folder / "ballast"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "runneltest", self.folder],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"these tests mount a small tmpfs, which needs root: {done.stderr}"

    def free(self):
        stat = os.statvfs(self.folder)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave=0):
        """Takes all space but `leave` bytes."""
        with open(self.ballast, "ab", buffering=0) as file:
            while (more := self.free() - leave) > 0:
                try:
                    file.write(b"x" * min(more, 1 << 20))
                except OSError:
                    return

    def relieve(self):
        """Gives back what `fill` took."""
        self.ballast.unlink()

    def resize(self, mib):
        subprocess.run(["mount", "-o", f"remount,size={mib}m", self.folder], check=True)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.folder], check=True)
