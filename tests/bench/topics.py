#!/usr/bin/env python3
"""topics.py ADDRESS create TOPIC PARTITIONS [KEY=VALUE...] | ADDRESS delete TOPIC; run by `cargo xtask bench`.

Kafka's own tool does the same and takes two seconds of processor time for it.
"""
import sys

from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE = 60


def main():
    """One of the two; says nothing, as JSON."""
    address, verb, topic, *rest = sys.argv[1:]
    client = AdminClient({"bootstrap.servers": address, "log_level": 4})
    if verb == "create":
        config = dict(setting.split("=") for setting in rest[1:])
        client.create_topics([NewTopic(topic, int(rest[0]), 1, config=config)])[topic].result(PATIENCE)
    else:
        client.delete_topics([topic])[topic].result(PATIENCE)
    print("null")


if __name__ == "__main__":
    main()
