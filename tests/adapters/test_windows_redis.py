"""Laws of a window store, run over the fake and over Redis itself: one server, sentinels, a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.adapters.redis.windows import RedisWindows
from streams.core.events import Source
from streams.core.flow.keeping import WINDOWS as FLOW_WINDOWS
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH, WindowLayout, Windows, in_order
from streams.errors import SettingsError, WindowStoreUnavailable
from streams.pipeline.ports import ChunkRange, Mark, Save, Saved, WindowStore
from tests.fakes import FakeWindows

LAYOUT = WindowLayout(KDD99)

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)


REDIS = [pytest.param(kind, marks=pytest.mark.redis) for kind in ("single", "sentinel", "cluster")]


@pytest.fixture(params=["fake", *REDIS])
def store(request: pytest.FixtureRequest) -> Iterator[WindowStore]:
    with opened(request) as windows:
        yield windows


@contextmanager
def opened(request: pytest.FixtureRequest) -> Iterator[FakeWindows | RedisWindows]:
    """The store that the fixture's parameter names, with a prefix of its own."""
    if request.param == "fake":
        yield FakeWindows()
        return
    name = "redis_url" if request.param == "single" else f"redis_{request.param}"
    servers = request.getfixturevalue(name)
    url = servers if request.param == "single" else servers.url
    with RedisWindows(LAYOUT, url, uuid.uuid4().hex, 3600, 5) as windows:
        yield windows


def grown(window: Windows, rows: int, offset: int) -> Windows:
    """The window (1,) after `rows` more rows, the last of them at `offset`."""
    after = window.copy()
    head = after["head"]
    for i in range(rows):
        place = int(head["next"][0])
        after["rows"]["numbers"][0, place, 0] = offset - rows + 1 + i
        head["next"] = (place + 1) % WIDTH
        head["count"] = min(int(head["count"][0]) + 1, WIDTH)
    head["offset"] = offset
    head["event_time_us"] = offset * 1000
    after["kafka_time_us"] = offset * 2000
    return after


def save(store: WindowStore, before: Windows, after: Windows, rows: int, source: Source = SOURCE) -> int:
    (answer,) = store.save(
        [Save(source, ["a"], before["head"]["offset"].astype(np.int64), after, np.array([rows]))]
    )
    return int(answer[0])


def stored(store: WindowStore, source: Source = SOURCE) -> bytes | None:
    return store.load([(source, ["a"])])[0][0]


def same_window(value: bytes | None, window: Windows) -> bool:
    read = LAYOUT.unpack([value], SOURCE)
    return (
        read["head"].tobytes() == window["head"].tobytes()
        and in_order(read)[0].tobytes() == in_order(window)[0].tobytes()
        and read["kafka_time_us"].tolist() == window["kafka_time_us"].tolist()
    )


def test_what_was_never_saved_is_none(store: WindowStore) -> None:
    assert store.load([(SOURCE, ["a", "b"])])[0] == [None, None]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(growth=st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_windows_grow_in_place_whatever_the_steps(store: WindowStore, growth: list[int]) -> None:
    source = replace(SOURCE, topic=uuid.uuid4().hex)
    window, offset = LAYOUT.blank(1, SOURCE), -1
    for rows in growth:
        offset += rows
        after = grown(window, rows, offset)
        assert save(store, window, after, rows, source) == Saved.DONE
        assert same_window(stored(store, source), after)
        window = after


def test_saving_twice_is_saving_once(store: WindowStore) -> None:
    """A save whose answer was lost is made again."""
    first = grown(LAYOUT.blank(1, SOURCE), 3, 2)
    save(store, LAYOUT.blank(1, SOURCE), first, 3)
    second = grown(first, 2, 4)
    assert [save(store, first, second, 2), save(store, first, second, 2)] == [Saved.DONE, Saved.DONE]
    assert same_window(stored(store), second)


def test_a_worker_that_lost_its_partition_cannot_overwrite_its_successor(store: WindowStore) -> None:
    base = grown(LAYOUT.blank(1, SOURCE), 3, 2)
    save(store, LAYOUT.blank(1, SOURCE), base, 3)
    successor, zombie = grown(base, 5, 7), grown(base, 1, 3)
    save(store, base, successor, 5)
    assert save(store, base, zombie, 1) == Saved.NEWER_STORED
    assert save(store, LAYOUT.blank(1, SOURCE), grown(LAYOUT.blank(1, SOURCE), 1, 0), 1) == Saved.NEWER_STORED
    assert same_window(stored(store), successor)


def test_a_window_that_the_store_lost_is_written_whole_again(store: WindowStore) -> None:
    base = grown(LAYOUT.blank(1, SOURCE), 10, 9)  # never saved: the store has lost it
    after = grown(base, 1, 10)
    assert save(store, base, after, 1) == Saved.DONE
    assert same_window(stored(store), after)


def test_a_store_that_went_back_in_time_is_brought_up_to_date(store: WindowStore) -> None:
    old = grown(LAYOUT.blank(1, SOURCE), 2, 1)
    save(store, LAYOUT.blank(1, SOURCE), old, 2)
    held = grown(old, 4, 5)  # saved, then lost with the store's newest data
    after = grown(held, 1, 6)
    assert save(store, held, after, 1) == Saved.DONE
    assert same_window(stored(store), after)


def test_another_life_of_the_topic_begins_anew(store: WindowStore) -> None:
    old = grown(LAYOUT.blank(1, SOURCE), 5, 900)
    save(store, LAYOUT.blank(1, SOURCE), old, 5)
    reborn = replace(SOURCE, topic_id=uuid.UUID(int=8))
    young = grown(LAYOUT.blank(1, reborn), 1, 0)
    assert save(store, LAYOUT.blank(1, reborn), young, 1, reborn) == Saved.DONE
    value = stored(store, reborn)
    assert value is not None
    assert np.frombuffer(value, LAYOUT.dtype)["head"]["offset"].tolist() == [0]


def test_a_worker_of_a_former_life_changes_nothing_of_the_present_one(store: WindowStore) -> None:
    """It stood still while the topic was deleted, and made again, and another worker went on."""
    reborn = replace(SOURCE, topic_id=uuid.UUID(int=8))
    old = grown(LAYOUT.blank(1, SOURCE), 3, 4)
    save(store, LAYOUT.blank(1, SOURCE), old, 3)
    young = grown(LAYOUT.blank(1, reborn), 1, 0)

    def save_on(based_on: int, after: Windows, source: Source) -> int:
        (answer,) = store.save([Save(source, ["a"], np.array([based_on]), after, np.array([1]))])
        return int(answer[0])

    assert save_on(-2 - 4, young, reborn) == Saved.DONE
    assert save_on(4, grown(old, 1, 5), SOURCE) == Saved.NEWER_STORED
    assert save_on(-2 - 4, grown(old, 1, 5), SOURCE) == Saved.NEWER_STORED
    assert save_on(0, grown(young, 1, 4), reborn) == Saved.DONE
    assert save_on(4, grown(old, 1, 5), SOURCE) == Saved.NEWER_STORED
    value = stored(store, reborn)
    assert value is not None
    assert LAYOUT.unpack([value], reborn)["head"].tobytes() == grown(young, 1, 4)["head"].tobytes()


def test_rows_are_never_added_to_a_window_of_the_same_offset_whose_ring_is_another(
    store: WindowStore,
) -> None:
    """One worker's window began anew after a loss, or was rebuilt; the other's has all its rows."""
    full = grown(LAYOUT.blank(1, SOURCE), 20, 19)
    for rows in (1, 4, 16):  # 4: its next row has the place that the full one's has
        short = grown(LAYOUT.blank(1, SOURCE), rows, 19)
        for held, other in ((full, short), (short, full)):
            source = replace(SOURCE, topic=uuid.uuid4().hex)
            save(store, LAYOUT.blank(1, SOURCE), held, 16, source)
            after = grown(other, 2, 21)
            assert save(store, other, after, 2, source) == Saved.DONE
            assert same_window(stored(store, source), after)
            beside = grown(held, 2, 21)
            assert save(store, held, beside, 2, source) == Saved.DONE
            assert same_window(stored(store, source), beside)


def reach_saved(store: WindowStore, follows: int, last: int, source: Source = SOURCE) -> Mark | None:
    """The mark after a save of no windows with that reach."""
    none = np.zeros(0, np.int64)
    store.save([Save(source, [], none, LAYOUT.blank(0, source), none, ChunkRange(follows, last))])[0]
    return store.mark(source)


def test_a_mark_goes_on_from_where_it_stood_and_never_back(store: WindowStore) -> None:
    far = 2**50
    assert reach_saved(store, -1, 9) is None, "a save makes no mark: it may be the first after a loss"
    store.put_mark(SOURCE, Mark(3, 9))
    assert reach_saved(store, 9, 14) == Mark(3, 14)
    assert reach_saved(store, 15, 20) == Mark(3, 14), "something between was not saved"
    assert reach_saved(store, 4, 8) == Mark(3, 14), "read again"
    assert reach_saved(store, 12, far) == Mark(3, far)
    assert reach_saved(store, far, far + 1) == Mark(3, far + 1)


def test_windows_that_need_their_mark_are_not_stored_without_it(store: WindowStore) -> None:
    after = grown(LAYOUT.blank(1, SOURCE), 3, 3)
    arguments = (SOURCE, ["a"], np.array([-1]), after, np.array([3]))
    marked = ChunkRange(3, 5, only_with_mark=True)
    assert store.save([Save(*arguments, marked)])[0].tolist() == [Saved.NO_MARK]
    store.put_mark(SOURCE, Mark(0, 2))
    assert store.save([Save(*arguments, marked)])[0].tolist() == [Saved.NO_MARK]
    assert store.load([(SOURCE, ["a"])])[0] == [None]
    assert store.mark(SOURCE) == Mark(0, 2)
    assert store.save([Save(*arguments, ChunkRange(2, 5, only_with_mark=True))])[0].tolist() == [Saved.DONE]
    assert store.load([(SOURCE, ["a"])])[0] == [after.tobytes()]
    assert store.mark(SOURCE) == Mark(0, 5)


def test_a_mark_goes_on_together_with_the_windows_of_the_chunk(store: WindowStore) -> None:
    store.put_mark(SOURCE, Mark(0, -1))
    after = grown(LAYOUT.blank(1, SOURCE), 3, 2)
    store.save([Save(SOURCE, ["a"], np.array([-1]), after, np.array([3]), ChunkRange(-1, 4))])[0]
    lost = grown(after, 1, 5)
    store.save([Save(SOURCE, ["b"], np.array([2]), lost, np.array([1]), ChunkRange(4, 5))])[0]  # again
    assert store.mark(SOURCE) == Mark(0, 5)
    assert same_window(stored(store), after)
    assert same_window(store.load([(SOURCE, ["b"])])[0][0], lost)


class CutOff(RedisWindows):
    """Dies between the two calls of a save whose first one finds that windows were lost."""

    calls = 0

    def _write(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        self.calls += 1
        if self.calls == 2:
            raise WindowStoreUnavailable("cut off")
        return super()._write(saves)


@pytest.mark.redis
def test_a_mark_does_not_go_on_before_all_windows_are_written(any_redis_url: str) -> None:
    with CutOff(LAYOUT, any_redis_url, uuid.uuid4().hex, 3600, 5) as windows:
        windows.put_mark(SOURCE, Mark(0, 8))
        after = grown(grown(LAYOUT.blank(1, SOURCE), 3, 8), 1, 9)  # its former rows are not there
        with pytest.raises(WindowStoreUnavailable):
            windows.save([Save(SOURCE, ["a"], np.array([8]), after, np.array([1]), ChunkRange(8, 9))])[0]
        assert windows.mark(SOURCE) == Mark(0, 8)
        windows.save([Save(SOURCE, ["a"], np.array([8]), after, np.array([1]), ChunkRange(8, 9))])[0]
        assert windows.mark(SOURCE) == Mark(0, 9)


def test_a_mark_is_of_one_life_and_no_device_has_its_key(store: WindowStore) -> None:
    store.put_mark(SOURCE, Mark(0, 9))
    assert store.load([(SOURCE, ["", ":", "}"])])[0] == [None, None, None]
    reborn = replace(SOURCE, topic_id=uuid.UUID(int=8))
    assert store.mark(reborn) is None
    assert store.mark(replace(SOURCE, partition=4)) is None
    assert reach_saved(store, -1, 20, reborn) is None
    assert store.mark(SOURCE) == Mark(0, 9)


def test_partitions_do_not_see_each_other(store: WindowStore) -> None:
    save(store, LAYOUT.blank(1, SOURCE), grown(LAYOUT.blank(1, SOURCE), 1, 0), 1)
    assert stored(store, replace(SOURCE, partition=4)) is None


def test_many_devices_in_one_call(store: WindowStore) -> None:
    n = 5000
    windows = LAYOUT.blank(n, SOURCE)
    windows["head"]["offset"] = np.arange(n)
    windows["head"]["count"] = windows["head"]["next"] = 1
    devices = [f"device-{i}" for i in range(n)]
    saved = store.save([Save(SOURCE, devices, np.full(n, -1), windows, np.ones(n, np.int64))])[0]
    assert not saved.any()
    assert store.load([(SOURCE, devices)])[0] == [window.tobytes() for window in windows]


@pytest.mark.redis
def test_a_device_costs_at_most_3200_bytes_in_redis(redis_url: str) -> None:
    prefix = uuid.uuid4().hex
    with (
        RedisWindows(LAYOUT, redis_url, prefix, 3600, 5) as windows,
        redis.Redis.from_url(redis_url) as client,
    ):
        full = grown(LAYOUT.blank(1, SOURCE), 20, 19)
        save(windows, LAYOUT.blank(1, SOURCE), full, 20)
        for offset in range(20, 60):
            after = grown(full, 1, offset)
            save(windows, full, after, 1)
            full = after
        key = windows.key(SOURCE, "a")
        assert client.memory_usage(key) <= 3200
        assert 0 < client.pttl(key) <= 3600 * 1000
        assert KDD99.row.itemsize * WIDTH < client.strlen(key) == LAYOUT.dtype.itemsize


@pytest.mark.redis
def test_a_device_of_flows_is_written_whole_and_costs_what_it_holds(redis_url: str) -> None:
    with (
        RedisWindows(FLOW_WINDOWS, redis_url, uuid.uuid4().hex, 3600, 5) as windows,
        redis.Redis.from_url(redis_url) as client,
    ):
        before = FLOW_WINDOWS.blank(1, SOURCE)
        for offset in range(3):  # the last makes no row
            after = before.copy()
            after["head"]["offset"] = offset
            after["beside"]["latest_us"] = offset + 7
            rows = np.array([int(offset < 2)])
            based_on = before["head"]["offset"].astype(np.int64)
            assert windows.save([Save(SOURCE, ["a"], based_on, after, rows)])[0].tolist() == [Saved.DONE]
            (value,) = windows.load([(SOURCE, ["a"])])[0]
            assert FLOW_WINDOWS.unpack([value], SOURCE).tobytes() == after.tobytes()
            before = after
        stale = [Save(SOURCE, ["a"], np.array([0]), FLOW_WINDOWS.blank(1, SOURCE), np.array([0]))]
        assert windows.save(stale)[0].tolist() == [Saved.NEWER_STORED]
        assert client.memory_usage(windows.key(SOURCE, "a")) <= 512
        full = _full_of_flows()
        windows.save([Save(SOURCE, ["b"], np.array([-1]), full, np.array([8]))])
        assert client.memory_usage(windows.key(SOURCE, "b")) <= 8_192
        (again,) = FLOW_WINDOWS.unpack(windows.load([(SOURCE, ["b"])])[0], SOURCE)
        assert again["head"] == full[0]["head"]
        assert again["beside"] == full[0]["beside"]
        is_oldest = np.arange(8) == full[0]["head"]["next"]
        assert (again["rows"][~is_oldest] == full[0]["rows"][~is_oldest]).all()


def _full_of_flows() -> Windows:
    """A device that has done all that there is room for, and of which nothing waits."""
    found = FLOW_WINDOWS.blank(1, SOURCE)
    found["rows"] = np.frombuffer(b"\1" * found["rows"].itemsize, found["rows"].dtype)
    state = found["beside"]["state"]
    for part in ("connections", "regular", "familiar", "seen"):
        state[part] = np.frombuffer(b"\1" * state[part].nbytes, state[part].dtype).reshape(state[part].shape)
    found["head"]["next"], found["head"]["count"] = 3, 8
    return found


@pytest.mark.redis
def test_a_window_stored_before_kafkas_timestamps_were_grows_in_place_and_takes_no_more_room(
    redis_url: str,
) -> None:
    with (
        RedisWindows(LAYOUT, redis_url, uuid.uuid4().hex, 3600, 5) as windows,
        redis.Redis.from_url(redis_url) as client,
    ):
        base = grown(LAYOUT.blank(1, SOURCE), 3, 2)
        key = windows.key(SOURCE, "a")
        client.set(key, base.tobytes()[:-8], ex=60)
        assert save(windows, base, grown(base, 1, 3), 1) == Saved.DONE
        assert same_window(stored(windows), grown(base, 1, 3))
        assert client.memory_usage(key) <= 3200


@pytest.mark.redis
def test_windows_expire_and_every_event_renews_them(redis_url: str) -> None:
    """Written whole or in part: no key is left without an end."""
    with (
        RedisWindows(LAYOUT, redis_url, uuid.uuid4().hex, 3600, 5) as windows,
        redis.Redis.from_url(redis_url) as client,
    ):
        key, before = windows.key(SOURCE, "a"), LAYOUT.blank(1, SOURCE)
        for rows, offset in ((1, 0), (2, 2), (WIDTH, 2 + WIDTH)):
            after = grown(before, rows, offset)
            save(windows, before, after, rows)
            assert 3_000_000 < client.pttl(key) <= 3_600_000
            client.pexpire(key, 60_000)
            before = after
        client.pexpire(key, 0)
        assert stored(windows) is None


@pytest.mark.redis
def test_a_redis_that_is_not_there_is_named_with_its_setting() -> None:
    named = pytest.raises(WindowStoreUnavailable, match=r"127\.0\.0\.1:1 .*AUTODEEP_REDIS_URL")
    with RedisWindows(LAYOUT, "redis://127.0.0.1:1/0", "ids", 3600, 1) as windows, named:
        windows.ping()


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="AUTODEEP_REDIS_URL") as caught:
        RedisWindows(LAYOUT, "http://user:hunter2@host", "ids", 3600, 1)
    assert "hunter2" not in str(caught.value)
