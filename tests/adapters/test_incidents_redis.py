"""Laws of what is kept of incidents, run over the fake and over Redis: one server, sentinels, a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from streams.adapters.redis.windows import RedisWindows
from streams.core.events import Source
from streams.errors import WindowStoreUnavailable
from streams.pipeline.ports import IncidentSave, Save, Saved, WindowStore
from tests.adapters.test_windows_redis import LAYOUT, REDIS, SOURCE, grown, opened, save, stored


@pytest.fixture(params=["fake", *REDIS])
def store(request: pytest.FixtureRequest) -> Iterator[WindowStore]:
    with opened(request) as windows:
        if isinstance(windows, RedisWindows):
            windows.ping()  # which tries every command
        yield windows


def keep(
    store: WindowStore,
    follows: int,
    through: int,
    changed: Mapping[str, bytes | None],
    reasons: Mapping[str, bytes | None] = {},
    *,
    source: Source = SOURCE,
    whole: bool = False,
) -> int:
    """Of a turn that changed no window."""
    none = np.zeros(0, np.int64)
    of = IncidentSave(follows, through, changed, reasons, whole)
    (answer,) = store.save([Save(source, [], none, LAYOUT.blank(0, source), none, None, of)])
    return int(answer[-1])


def kept(store: WindowStore, source: Source = SOURCE) -> tuple[int, dict[str, bytes]]:
    through, found = store.incidents(source)
    return through, dict(found)


def test_what_changed_is_kept_and_what_ended_goes(store: WindowStore) -> None:
    assert kept(store) == (-1, {})
    assert keep(store, -1, 9, {"a": b"1", "<b>\n é": b"2"}, {"dos:a": b"why"}) == Saved.DONE
    assert kept(store) == (9, {"a": b"1", "<b>\n é": b"2"})
    assert keep(store, 9, 2**50, {"a": None, "c": b"\x00\xff"}, {"dos:a": None, "dos:c": b"x"}) == Saved.DONE
    assert kept(store) == (2**50, {"<b>\n é": b"2", "c": b"\x00\xff"})
    assert store.reasons([(SOURCE, "dos:a"), (SOURCE, "dos:c")]) == [None, b"x"]
    assert kept(store, replace(SOURCE, partition=4)) == (-1, {})


def test_how_far_they_are_kept_is_told_of_many_partitions_and_of_this_life_alone(store: WindowStore) -> None:
    other, none, reborn = (
        replace(SOURCE, partition=4),
        replace(SOURCE, partition=5),
        replace(SOURCE, topic_id=uuid.UUID(int=8)),
    )
    keep(store, -1, 9, {"a": b"1"})
    keep(store, -1, 2**50, {}, source=other)
    assert store.reached([SOURCE, none, other, reborn]) == [9, -1, 2**50, -1]
    assert store.reached([]) == []


def test_a_save_whose_answer_was_lost_is_made_again(store: WindowStore) -> None:
    assert [keep(store, -1, 9, {"a": b"1"}), keep(store, -1, 9, {"a": b"1"})] == [Saved.DONE] * 2
    assert [keep(store, 9, 12, {"a": b"2"}), keep(store, 9, 12, {"a": b"2"})] == [Saved.DONE] * 2
    assert kept(store) == (12, {"a": b"2"})


def test_a_worker_that_lost_its_partition_changes_nothing_that_its_successor_has(store: WindowStore) -> None:
    keep(store, -1, 9, {"a": b"1"})
    assert keep(store, 9, 20, {"a": b"2"}) == Saved.DONE
    assert keep(store, 9, 14, {"a": None, "z": b"z"}) == Saved.NEWER_STORED
    assert kept(store) == (20, {"a": b"2"})
    assert keep(store, 9, 25, {"a": b"3"}) == Saved.DONE, (
        "another's turn ended between: what it did is in ours"
    )


def test_lost_ones_are_not_added_to_and_then_kept_whole(store: WindowStore) -> None:
    assert keep(store, 9, 14, {"a": b"1"}) == Saved.LOST
    assert kept(store) == (-1, {})
    many = {f"d{i}": b"%d" % i for i in range(2500)}
    assert keep(store, -1, 20, many, {"dos:d1": b"why"}, whole=True) == Saved.DONE
    assert kept(store) == (20, many)
    keep(store, 20, 21, {"old": b"1"})
    assert keep(store, -1, 30, {"a": b"2"}, whole=True) == Saved.DONE
    assert kept(store) == (30, {"a": b"2"})
    assert store.reasons([(SOURCE, "dos:d1")]) == [None]
    assert keep(store, -1, 31, {}, whole=True) == Saved.DONE
    assert kept(store) == (31, {})


def test_a_store_that_went_back_in_time_has_lost_them(store: WindowStore) -> None:
    keep(store, -1, 9, {"a": b"1"})
    assert keep(store, 14, 20, {"a": b"3"}) == Saved.LOST
    assert kept(store) == (9, {"a": b"1"})


def test_another_life_of_the_topic_begins_with_none(store: WindowStore) -> None:
    keep(store, -1, 900, {"a": b"1"}, {"dos:a": b"why"})
    reborn = replace(SOURCE, topic_id=uuid.UUID(int=8))
    assert kept(store, reborn) == (-1, {})
    assert keep(store, -1, 5, {"b": b"2"}, source=reborn) == Saved.DONE
    assert kept(store, reborn) == (5, {"b": b"2"})
    assert store.reasons([(reborn, "dos:a")]) == [None]


def test_a_worker_of_a_former_life_changes_nothing_of_the_present_ones(store: WindowStore) -> None:
    keep(store, -1, 900, {"a": b"1"})
    reborn = replace(SOURCE, topic_id=uuid.UUID(int=8))
    keep(store, -1, 5, {"b": b"2"}, source=reborn)
    assert keep(store, 900, 910, {"a": None}) == Saved.NEWER_STORED
    assert kept(store, reborn) == (5, {"b": b"2"})


def test_they_are_saved_in_one_step_with_the_windows_also_where_those_are_written_whole(
    store: WindowStore,
) -> None:
    base = grown(LAYOUT.blank(1, SOURCE), 10, 9)  # never saved: the store has lost it
    after = grown(base, 1, 10)
    of = IncidentSave(-1, 10, {"a": b"1"}, {})
    based_on = base["head"]["offset"].astype(np.int64)
    (answer,) = store.save([Save(SOURCE, ["a"], based_on, after, np.array([1]), None, of)])
    assert answer.tolist() == [Saved.DONE, Saved.DONE]
    assert stored(store) is not None
    assert kept(store) == (10, {"a": b"1"})
    assert save(store, after, grown(after, 1, 11), 1) == Saved.DONE


@pytest.mark.redis
def test_what_is_written_while_it_is_read_is_read_again(redis_url: str) -> None:
    """By the worker that had the partition before: its last save may come late."""
    with RedisWindows(LAYOUT, redis_url, uuid.uuid4().hex, 3600, 5) as windows:
        keep(windows, -1, 9, {f"d{i}": b"1" for i in range(3000)})
        _, found = windows.incidents(SOURCE)
        next(iter(found))
        keep(windows, 9, 10, {"d1": b"2"})
        with pytest.raises(WindowStoreUnavailable, match="changed while it was read"):
            dict(found)
