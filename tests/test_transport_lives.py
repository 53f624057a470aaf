"""The chunked consumer where a topic is deleted and made again while the same worker goes on reading."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

from faust.types import TP

from streams.kafka.transport import ChunkedConsumer, Poll

PLACE = TP("t", 0)


def consumer() -> Any:
    """One without Kafka: only what tracking offsets needs."""
    made = object.__new__(ChunkedConsumer)
    made.app = SimpleNamespace(
        consumer_generation_id=1, topics=SimpleNamespace(acks_enabled_for=lambda _: True)
    )
    made._under_way, made._processed = set(), asyncio.Event()
    made._of_former_life, made._unacked_messages = WeakSet(), WeakSet()
    made._read_offset = defaultdict(lambda: None)
    made._committed_offset = defaultdict(lambda: None)
    made._acked, made._acked_index = defaultdict(list), defaultdict(set)
    made._n_acked, made._waiting_for_ack = 0, None
    return made


def read(made: Any, first: int, last: int) -> Any:
    """A poll as the drain loop takes it: delivered where its offset is not below the one read last."""
    records = tuple(SimpleNamespace(offset=offset, timestamp=0) for offset in (first, last))
    message = made._to_message(PLACE, Poll("t", 0, records, last + 1))
    before = made._read_offset[PLACE]
    if before is not None and last < before:
        return None
    made._read_offset[PLACE] = last
    made._unacked_messages.add(message)
    return message


def committable(made: Any) -> int | None:
    """What would be committed now."""
    offset = made._new_offset(PLACE)
    if offset is None or not made._should_commit(PLACE, offset):
        return None
    made._committed_offset[PLACE] = offset
    return int(offset)


def test_polls_of_a_topic_made_again_are_delivered_and_committed_below_the_former_offsets() -> None:
    made = consumer()
    assert made.ack(read(made, 0, 537))
    assert committable(made) == 538
    anew = read(made, 0, 9)
    assert anew is not None, "dropped"
    assert committable(made) == 0, "a late commit of the former life is undone"
    assert made.ack(anew)
    assert committable(made) == 10


def test_what_was_under_way_of_the_former_life_is_not_committed_in_the_new_one() -> None:
    made = consumer()
    former = read(made, 0, 537)
    anew = read(made, 0, 9)
    assert committable(made) == 0
    assert not made.ack(former)
    assert committable(made) is None
    assert made.ack(anew)
    assert committable(made) == 10
    assert not made._under_way


def test_within_one_life_offsets_go_on() -> None:
    made = consumer()
    first, second = read(made, 0, 9), read(made, 10, 19)
    assert made.ack(first) and made.ack(second)  # noqa: PT018
    assert committable(made) == 20
    assert not made._of_former_life
