"""A thousand members in one group. They are tasks of this process; what they say is said by hand."""
import asyncio

import pytest

from harness import log, swarm
from harness.history import Load, check

MEMBERS = 1000
# How soon the broker misses a member; the consumer protocol has one time for all.
SESSION_SECONDS = 6


async def goes_on(load):
    """Others are served meanwhile: it ends when they are not."""
    while True:
        before = len(load.acked)
        await asyncio.sleep(2)
        assert len(load.acked) > before, "nothing was acknowledged for two seconds"


async def live(address, kind, load):
    """The group forms, one is cut off and missed, and the others share what it had."""
    watch = asyncio.create_task(goes_on(load))
    # As many beats as a debug build bears.
    group = swarm.Swarm(address, "g", "t", MEMBERS, every=1)
    await group.join(kind, MEMBERS - 1)
    short, = await group.join(kind, 1, session_ms=SESSION_SECONDS * 1000)
    await group.until_stable(60)
    part = set(short.owned)
    assert part, "everybody has a part"
    group.die(short)
    assert not group.is_stable()
    took = await group.until_stable(60)
    assert took > 1, "it was missed before its session was over"
    assert part <= {p for member in group.members for p in member.owned}
    assert len(group.members) == MEMBERS - 1
    assert not watch.done(), watch.exception()
    watch.cancel()
    await group.end()


@pytest.mark.parametrize("kind", [swarm.Classic, swarm.Modern])
def test_a_group_of_a_thousand(make_broker, kind):
    """It forms, outlives the death of a member, and keeps nobody from writing."""
    broker = make_broker({"GROUPS__INITIAL_REBALANCE_DELAY": "1s", "GROUPS__CONSUMER_SESSION_TIMEOUT": f"{SESSION_SECONDS}s",
                          "GROUPS__CONSUMER_HEARTBEAT_INTERVAL": "1s"}).start()
    log.create_topic(broker.address, "t", MEMBERS)
    log.create_topic(broker.address, "others", 2)
    load = Load(broker.address, "others", 2, "a", pause=0.02).start()
    asyncio.run(live(broker.address, kind, load))
    load.finish()
    check(log.read_all(broker.address, "others"), [load])
