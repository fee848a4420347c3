"""The clock of one process, which can be set while it runs; what counts time only goes on as before."""
import pathlib

LIBRARY = "libfaketimeMT.so.1"


class Clock:
    """Right at first; it can be set from when the process starts that has this in its environment."""

    def __init__(self, file):
        self.file = pathlib.Path(file)
        self.set(0)

    def set(self, seconds):
        """So many seconds ahead of the right time."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.rename(self.file)

    def environment(self):
        library, = pathlib.Path("/usr/lib").glob(f"*/faketime/{LIBRARY}")
        return {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
