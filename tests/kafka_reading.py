"""Reading a topic from its beginning to its present end, for tests."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient, NewTopic

from streams.adapters.kafka.reading import Reader
from streams.core.events import Message
from streams.settings import Settings


def make_topic(servers: str, name: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
    """Make a topic of one copy, and answer its name."""
    admin = AdminClient({"bootstrap.servers": servers})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
    admin.create_topics([topic], operation_timeout=10)[name].result(timeout=20)
    return name


def read_all(servers: str, topic: str, timeout_s: float = 20.0) -> list[Message]:
    """Every record of the topic, by partition and offset."""
    settings = Settings(kafka_servers=servers, network_timeout_s=timeout_s)
    with Reader(settings, f"reading {topic}") as reader:
        reader.assign(reader.places([topic]))
        found = sorted(reader.to_the_end(), key=lambda record: (record.partition(), record.offset()))
    return [Message(topic, one.key(), one.value(), tuple(one.headers() or ())) for one in found]


def committed(servers: str, group: str, topic: str) -> dict[int, tuple[int, int]]:
    """Partition to (committed offset, end offset); the former is negative where nothing was committed."""
    settings = Settings(kafka_servers=servers, network_timeout_s=20)
    with Reader(settings, f"asking how far {group} is", {"group.id": group}) as reader:
        places = reader.places([topic])
        ends = {one.partition: one.offset for one in reader.at_end(places)}
        return {one.partition: (one.offset, ends[one.partition]) for one in reader.committed(places)}
