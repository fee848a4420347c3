"""What one connection sends to a partition, pipelined, is stored in the order in which it was sent."""
from harness import log

RECORDS = [(0, None, str(i).encode(), None) for i in range(2000)]
# No retries: they may reorder, and none is needed. No lingering: many small batches in flight at once.
PIPELINED = dict(retries=0, linger_ms=0, batch_num_messages=20)


def test_pipelined_batches_keep_their_order_while_a_partition_opens(broker):
    """The first batches meet a partition that is not open yet, also right after a restart."""
    topics = [f"t{i}" for i in range(8)]
    for topic in topics:
        log.create_topic(broker.address, topic, 1)
        log.produce(broker.address, topic, RECORDS, **PIPELINED)
    assert broker.stop() == 0
    broker.start()
    for topic in topics:
        log.produce(broker.address, topic, RECORDS, **PIPELINED)
    for topic in topics:
        found = [int(r.value) for r in log.read_all(broker.address, topic)[0]]
        assert found == [*range(len(RECORDS))] * 2, topic
