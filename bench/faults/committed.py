"""How far the group has come in a topic's present life, as Kafka knows it.

A commit of a life before may come after the topic was made again, and stands there until the next one.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Final

from confluent_kafka import TopicPartition

from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import topic_id
from streams.settings import Settings

_ASK_S: Final = 10.0
_ID_LETTERS: Final = 36


def committed(settings: Settings, topic: str) -> dict[int, int]:
    """Partition to the group's committed offset, 0 where there is none. Joins nothing."""
    return {number: max(offset, 0) for number, offset in _asked(settings, topic).items()}


def standing(settings: Settings, topic: str) -> dict[int, int]:
    """Likewise, without the partitions in which the group has committed nothing yet."""
    return {number: offset for number, offset in _asked(settings, topic).items() if offset >= 0}


def _asked(settings: Settings, topic: str) -> dict[int, int]:
    asking = replace(settings, network_timeout_s=_ASK_S)
    life = topic_id(asking, topic)
    with Reader(asking, "asking how far the group is", {"group.id": settings.group}) as reader:
        found = reader.committed(reader.places([topic]))
    return {one.partition: one.offset if _is_of(one, life) else -1 for one in found}


def _is_of(place: TopicPartition, life: uuid.UUID) -> bool:
    """Whether the id beside the offset is this one; without any, whoever committed it did not say.

    It is how the text begins: confluent-kafka 2.15.1 reads on beyond the text's end, to the next zero byte.
    """
    try:
        text = place.metadata or ""
    except UnicodeDecodeError as exc:
        text = exc.object.decode("utf-8", "replace")
    try:
        return uuid.UUID(text[:_ID_LETTERS]) == life
    except ValueError:
        return True


def ends(settings: Settings, topic: str) -> dict[int, int]:
    """Partition to the offset that its next record will have."""
    asking = replace(settings, network_timeout_s=_ASK_S)
    with Reader(asking, "asking where a topic ends", {"group.id": "bench"}) as reader:
        return {one.partition: one.offset for one in reader.at_end(reader.places([topic]))}
