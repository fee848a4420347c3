"""What the scripts that measure send with librdkafka."""
import time

PATIENCE = 120


def send(producer, topic, values, count, partition):
    """So many records, the values in turn; `partition` says where the one with a number goes. Returns when all are
    acknowledged."""
    for number in range(count):
        while True:
            try:
                producer.produce(topic, values[number % len(values)], partition=partition(number))
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(PATIENCE) == 0


def acknowledged_after(producer, topic, value, rate, seconds, partitions):
    """Sends `rate` records a second; milliseconds from when each was due to its acknowledgement."""
    took, start = [], time.monotonic() + 0.5
    for number in range(rate * seconds):
        due = start + number / rate
        while (wait := due - time.monotonic()) > 0:
            producer.poll(wait)

        def told(error, _message, due=due):
            assert error is None, error
            took.append((time.monotonic() - due) * 1e3)
        producer.produce(topic, value, partition=number % partitions, on_delivery=told)
    assert producer.flush(PATIENCE) == 0
    return took


def quantile(values, share):
    """Of a list that is not empty."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]
