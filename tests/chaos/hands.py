"""Those who do something to a cluster: each one thing after the other, drawn by a seed, and what it did it makes good.

Several are at it side by side, so that a broker dies while etcd is away. What happens depends on the seed, when does not.
"""
import collections
import random
import subprocess
import threading

from harness.history import Background
from harness.process import wait_until

# Between two durable steps (docs/record-path.md).
FAIL_POINTS = ["ship.put", "ship.after_root_cas", "ship.committed", "merge.put", "open.root_taken", "open.recorded",
               "move.emptied", "move.given", "session.ended", "wal.object.seal.placed", "wal.object.trim.recorded"]


class Hand(Background):
    """`say` is told what is done, as it is done; `rest` is how long it rests in between, at most, in seconds."""

    def __init__(self, cluster, seed, say, rest=5.0):
        self.cluster, self.say, self.rest = cluster, say, rest
        self.rng, self.done, self.failure = random.Random(seed), collections.Counter(), None
        self.idle, self.over = threading.Event(), threading.Event()
        super().__init__()

    def finish(self):
        """Ends it once what it did is made good. Its thread stays until `let_go`: processes end with the one that began them."""
        self.ending.set()
        self.idle.wait()
        if self.failure:
            raise self.failure

    def let_go(self):
        self.over.set()
        self.thread.join()

    def _run(self):
        self._work()
        self.idle.set()
        self.over.wait()

    def _work(self):
        try:
            while not self.ending.is_set():
                self.for_a_while(self.rest)
                deed = self.rng.choice(self.deeds())
                self.done[deed.__name__.replace("_", " ")] += 1
                deed()
        except Exception as failure:  # pylint: disable=broad-exception-caught; whose thread this is cannot see it
            self.failure = failure
            self.say(f"cannot go on: {failure!r}")

    def deeds(self):
        """What may be drawn."""
        raise NotImplementedError

    def for_a_while(self, most):
        """Lets time pass, less if all is to end."""
        self.ending.wait(self.rng.uniform(0, most))


class OnBrokers(Hand):
    """Kills, stops, stalls and drains brokers, and starts those that are down, as whoever watches over processes does."""

    def deeds(self):
        return [self.kill, self.kill, self.kill_between_two_steps, self.kill_all, self.stall, self.stall, self.stop,
                self.restart_in_turn, self.drain, self.lose_touch_with_etcd]

    def any(self):
        return self.rng.randrange(len(self.cluster.brokers))

    def revive(self, fail_points=None):
        """Starts what is down."""
        for i, broker in enumerate(self.cluster.brokers):
            if not broker.running():
                status = broker.process.returncode
                if status not in (0, -9):
                    self.say(f"broker {i} had ended with {status} and starts again")
                broker.start(fail_points, wait=False)

    def kill(self):
        i = self.any()
        self.say(f"broker {i} is killed")
        self.cluster.kill(i)
        self.for_a_while(5)
        self.revive()

    def kill_between_two_steps(self):
        i, point = self.any(), self.rng.choice(FAIL_POINTS)
        self.say(f"broker {i} is killed, and dies again when it comes to {point}")
        self.cluster.kill(i)
        self.revive(f"{point}=abort")
        self.for_a_while(10)
        self.revive()

    def kill_all(self):
        self.say("all brokers are killed")
        for i in range(len(self.cluster.brokers)):
            self.cluster.kill(i)
        self.for_a_while(2)
        self.revive()

    def stall(self):
        i = self.any()
        self.revive()
        self.say(f"broker {i} stands still")
        self.cluster.pause(i)
        self.for_a_while(10)
        self.cluster.resume(i)

    def stop(self):
        i = self.any()
        self.revive()
        self.say(f"broker {i} is stopped")
        self._stop(i)
        self.for_a_while(3)
        self.revive()

    def restart_in_turn(self):
        self.say("brokers are restarted, one after the other")
        for i in range(len(self.cluster.brokers)):
            self.revive()
            self._stop(i)
            self.revive()
            self.for_a_while(4)

    def _stop(self, i):
        """As a service manager does: what does not end in time is killed."""
        try:
            self.cluster.stop(i, seconds=20)
        except subprocess.TimeoutExpired:
            self.say(f"broker {i} has something to do yet and is killed")
            self.cluster.kill(i)

    def drain(self):
        i = self.any()
        self.revive()
        self.say(f"broker {i} is drained")
        self._drain(i)
        self.for_a_while(5)
        self._drain(i, "--undo")

    def _drain(self, *args):
        """Whatever comes of it: others may be down, and say so."""
        broker, at = self.cluster.brokers[0], ["--bootstrap", self.cluster.grpc_bootstrap()]
        try:
            return broker.run("cluster", "drain", *map(str, args), *at, seconds=20).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def lose_touch_with_etcd(self):
        i = self.any()
        link = self.cluster.to_etcd[i]
        how = self.rng.choice([link.silence, link.deafen, link.cut])
        self.say(f"broker {i} loses touch with etcd ({how.__name__})")
        how()
        self.for_a_while(8)
        link.heal()

    def make_good(self):
        """All are up and may lead."""
        self.revive()
        for i, broker in enumerate(self.cluster.brokers):
            wait_until(lambda broker=broker: self._is_ready(broker), "all brokers ready", seconds=120, every=0.2)
            wait_until(lambda i=i: self._drain(i, "--undo"), f"broker {i} may lead", seconds=60, every=0.2)

    def _is_ready(self, broker):
        self.revive()
        return broker.http("/readyz")[0] == 200


class OnServers(Hand):
    """Stalls and kills etcd and the S3 server, and has the latter answer wrongly, late and twice."""

    def deeds(self):
        return [self.stall_etcd, self.kill_etcd, self.stall_bucket, self.kill_bucket, self.disturb_bucket,
                self.disturb_bucket]

    def stall_etcd(self):
        self.say("etcd stands still")
        self.cluster.etcd.pause()
        self.for_a_while(8)
        self.cluster.etcd.resume()

    def kill_etcd(self):
        self.say("etcd is killed")
        self.cluster.etcd.stop()
        self.for_a_while(6)
        self.cluster.etcd.start()

    def stall_bucket(self):
        self.say("the bucket stands still")
        self.cluster.s3.hang()
        self.for_a_while(6)
        self.cluster.s3.resume()

    def kill_bucket(self):
        self.say("the S3 server is killed")
        self.cluster.s3.stop()
        self.for_a_while(4)
        self.cluster.s3.start()

    def disturb_bucket(self):
        share = self.rng.choice([0.05, 0.3])
        self.say(f"{share:.0%} of the bucket's answers are wrong, late or twice")
        self.cluster.unreliable.bad(share)
        self.for_a_while(15)
        self.cluster.unreliable.good()
