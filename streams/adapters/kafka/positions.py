"""Where reading goes on: what was committed of a partition, in the present life of its topic."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

import aiokafka
from faust.types import TP

from streams.adapters.kafka.deliveries import Committable

_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")


async def seek_to_committed(
    consumer: aiokafka.AIOKafkaConsumer, topic_ids: Mapping[str, uuid.UUID], places: Iterable[TP]
) -> Mapping[TP, Committable | None]:
    """Each of these partitions to what was committed of it, or to its beginning; returns what was committed.

    aiokafka leaves a partition of which nothing was committed where it is. That is after the records that
    Faust fetched and dropped because a rebalance was under way.
    """
    places = list(places)
    committed: dict[TP, Committable | None] = dict.fromkeys(places)  # of the others nothing is told
    found = await consumer._coordinator.fetch_committed_offsets(places)
    for tp, at in found.items():
        committed[tp] = committed_for(at.offset, at.metadata, topic_ids[tp.topic])
    for tp in committed.keys() & consumer.assignment():
        position = committed[tp]
        consumer.seek(tp, 0 if position is None else position.offset)  # else `earliest` helps
    return committed


def commit_metadata(done: Committable) -> str:
    """`<topic id>`, or `<topic id> <watermark in ms>` where that is kept."""
    of = str(done.topic_id)
    return of if done.watermark_ms is None else f"{of} {done.watermark_ms}"


def committed_for(offset: int, metadata: str | None, topic_id: uuid.UUID) -> Committable | None:
    """A commit as far as it is of this life of the topic: None where it is another's, or none at all.

    Without metadata it is believed: whoever wrote it did not say.
    """
    life, _, watermark = (metadata or str(topic_id)).partition(" ")
    if offset < 0 or life != str(topic_id):
        return None
    return Committable(offset, topic_id, int(watermark) if _NUMBER.fullmatch(watermark) else None)
