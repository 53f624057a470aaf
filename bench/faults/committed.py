"""How far the group has come, as Kafka knows it."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Consumer, TopicPartition

from streams.adapters.kafka.client import LOG, client_config
from streams.settings import Settings

_ASK_S: Final = 10.0


def committed(settings: Settings, topic: str) -> dict[int, int]:
    """Partition to the group's committed offset, 0 where there is none. Joins nothing."""
    consumer = Consumer({**client_config(settings), "group.id": settings.group}, logger=LOG)
    try:
        partitions = consumer.list_topics(topic, timeout=_ASK_S).topics[topic].partitions
        places = [TopicPartition(topic, partition) for partition in partitions]
        return {place.partition: max(place.offset, 0) for place in consumer.committed(places, timeout=_ASK_S)}
    finally:
        consumer.close()


def ends(settings: Settings, topic: str) -> dict[int, int]:
    """Partition to the offset that its next record will have."""
    consumer = Consumer({**client_config(settings), "group.id": "bench"}, logger=LOG)
    try:
        partitions = consumer.list_topics(topic, timeout=_ASK_S).topics[topic].partitions
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ASK_S)[1]
            for partition in partitions
        }
    finally:
        consumer.close()
