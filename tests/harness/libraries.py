"""The same load by other client libraries than librdkafka, in the processes of their drivers."""
import json

from .drivers import Driver
from .history import Background, Recorder

# A driver is killed when it has run for so long, unless told otherwise.
SECONDS = 900
LIBRARIES = ("kafka-clients", "franz-go")


class Foreign(Background):
    """An idempotent producer and a member of a group of its own; the driver tells what happens to both."""

    def __init__(self, library, address, topic, partitions, seconds=SECONDS):
        self.history, self.acked, self.failure = Recorder(library, topic), 0, None
        self.until = self.history.path.with_suffix(".end")
        self.driver = Driver(library, seconds)
        self.told = self.driver.answers("load", address, topic, partitions=list(range(partitions)), name=library,
                                        group=f"readers-with-{library}", until=str(self.until))
        super().__init__()

    def finish(self):
        """Ends the producer, and the member once it has got what was acknowledged, or a minute later."""
        self.until.touch()
        super().finish()
        self.driver.stop()
        assert self.failure is None, self.failure

    def _run(self):
        try:
            for event in self.told:
                self.history.lines.write(json.dumps(event) + "\n")
                self.acked += "acked" in event
        except AssertionError as failure:
            self.failure = failure
