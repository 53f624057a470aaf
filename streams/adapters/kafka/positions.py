"""Where reading goes on: what was committed of a partition, in the present life of its topic."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.adapters.kafka.deliveries import Committable

_BEGINNING_S: Final = 5.0
"""How long the broker may take to say where a log begins. A partition that is gone has no answer."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")


async def seek_to_committed(
    consumer: aiokafka.AIOKafkaConsumer, topic_ids: Mapping[str, uuid.UUID], places: Iterable[TP]
) -> Mapping[TP, Committable | None]:
    """Each of these partitions to what was committed of it, or to where its log begins; what was committed.

    aiokafka leaves a partition of which nothing was committed where it is. That is after the records that
    Faust fetched and dropped because a rebalance was under way.
    """
    places = list(places)
    committed: dict[TP, Committable | None] = dict.fromkeys(places)  # of the others nothing is told
    found = await consumer._coordinator.fetch_committed_offsets(places)
    for tp, at in found.items():
        committed[tp] = committed_for(at.offset, at.metadata, topic_ids[tp.topic])
    begins = await log_starts(consumer, [tp for tp, at in committed.items() if at is None])
    for tp in committed.keys() & consumer.assignment():
        position = committed[tp]
        consumer.seek(tp, begins.get(tp, 0) if position is None else position.offset)
    return committed


async def log_starts(consumer: aiokafka.AIOKafkaConsumer, places: Collection[TP]) -> Mapping[TP, int]:
    """The first offset that each still has; nothing of those that the broker does not tell in time."""
    return await _told(consumer._fetcher.beginning_offsets, places)


async def log_ends(consumer: aiokafka.AIOKafkaConsumer, places: Collection[TP]) -> Mapping[TP, int]:
    """The offset that the next record to be read at each one's end will have; as of `log_starts`."""
    return await _told(consumer._fetcher.end_offsets, places)


async def _told(ask: Any, places: Collection[TP]) -> Mapping[TP, int]:
    if not places:
        return {}
    try:
        offsets: Mapping[TP, int] = await asyncio.wait_for(ask(places, None), _BEGINNING_S)
    except (TimeoutError, KafkaError):
        return {}
    return offsets


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
