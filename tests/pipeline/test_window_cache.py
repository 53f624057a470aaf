"""The cache of windows: bounded, least recently used out, and never a stale latent."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH, WindowLayout
from streams.pipeline.cache import WindowCache

LAYOUT = WindowLayout(KDD99)

SOURCE = Source("t", uuid.UUID(int=1), 0)
L = 3


def cache_of(devices: int) -> WindowCache:
    probe = WindowCache(LAYOUT, 1 << 20, L)
    return WindowCache(LAYOUT, devices * (1 << 20) // probe.capacity + devices, L)


def admit(cache: WindowCache, number: int, devices: list[str]) -> None:
    partition = ("t", number)
    slots = cache.find([(partition, devices)])
    missing = [device for device, slot in zip(devices, slots.tolist(), strict=True) if slot < 0]
    windows = LAYOUT.blank(len(missing), SOURCE)
    windows["head"]["offset"] = [hash(device) % 1000 for device in missing]
    cache.admit(partition, missing, windows)


def holds(cache: WindowCache, number: int, device: str) -> bool:
    return bool(cache.find([(("t", number), [device])])[0] >= 0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, 30), max_size=8)), max_size=30))
def test_it_behaves_as_an_lru_of_turns_and_never_grows(uses: list[tuple[int, set[int]]]) -> None:
    cache = cache_of(10)
    assert cache.capacity >= 10
    last_use: dict[tuple[int, str], int] = {}
    for tick, (number, numbers) in enumerate(uses):
        partition = ("t", number)
        devices = [f"d{n}" for n in sorted(numbers)]
        slots = cache.find([(partition, devices)])
        for device, slot in zip(devices, slots.tolist(), strict=True):
            if slot >= 0:
                assert cache.windows(np.array([slot]))["head"]["offset"][0] == hash(device) % 1000
        missing = [device for device, slot in zip(devices, slots.tolist(), strict=True) if slot < 0]
        windows = LAYOUT.blank(len(missing), SOURCE)
        windows["head"]["offset"] = [hash(device) % 1000 for device in missing]
        cache.admit(partition, missing, windows)
        last_use.update({(number, device): tick for device in devices})
        assert len(cache) == min(len(last_use), cache.capacity)
        assert all(cache.find([(partition, devices)]) >= 0)


def test_the_least_recently_used_device_goes_first() -> None:
    cache = cache_of(4)
    names = [f"d{i}" for i in range(cache.capacity)]
    for name in names:
        admit(cache, 0, [name])
    admit(cache, 0, [names[0]])  # used again
    admit(cache, 0, ["new"])
    assert holds(cache, 0, names[0])
    assert not holds(cache, 0, names[1])


def test_a_partition_dropped_is_gone_and_the_others_stay() -> None:
    cache = cache_of(8)
    admit(cache, 0, ["a", "b"])
    admit(cache, 1, ["a"])
    cache.drop_partition(("t", 0))
    assert not holds(cache, 0, "a")
    assert holds(cache, 1, "a")
    assert len(cache) == 1


def test_latents_are_only_those_of_the_model_asked_for() -> None:
    cache = cache_of(4)
    admit(cache, 0, ["a"])
    slots = cache.find([(("t", 0), ["a"])])
    assert not cache.latents(slots, model=1, size=L)[1].any()
    cache.put(slots, cache.windows(slots), np.ones((1, WIDTH, L), np.float32), model=1)
    assert cache.latents(slots, model=1, size=L)[1].all()
    assert not cache.latents(slots, model=2, size=L)[1].any()
    cache.put(slots, cache.windows(slots), np.full((1, WIDTH, L - 1), 2, np.float32), model=2)
    assert not cache.latents(slots, model=1, size=L)[1].any()
    latents, known = cache.latents(slots, model=2, size=L - 1)
    assert known.all()
    assert (latents == 2).all()
    assert latents.shape == (1, WIDTH, L - 1)


def test_latents_for_which_no_room_was_made_are_not_remembered() -> None:
    cache = cache_of(4)
    admit(cache, 0, ["a", "b"])
    slots = cache.find([(("t", 0), ["a", "b"])])
    cache.put(slots, cache.windows(slots), np.ones((2, WIDTH, L), np.float32), model=1)
    before = cache.nbytes
    cache.put(slots[:1], cache.windows(slots[:1]), np.ones((1, WIDTH, 9 * L), np.float32), model=2)
    latents, known = cache.latents(slots, model=2, size=9 * L)
    assert latents.shape == (2, WIDTH, 9 * L)
    assert not known.any()
    assert cache.latents(slots, model=1, size=L)[1].tolist() == [False, True]
    assert cache.nbytes == before


def test_a_wider_model_takes_no_more_memory_and_drops_only_what_was_used_longest_ago() -> None:
    budget = 16 << 20
    cache = WindowCache(LAYOUT, budget, 8)
    names = [f"d{i}" for i in range(cache.capacity)]
    windows = LAYOUT.blank(len(names), SOURCE)
    windows["head"]["offset"] = np.arange(len(names))
    cache.find([(("t", 0), names)])
    slots = cache.admit(("t", 0), names, windows)
    latents = np.broadcast_to(np.arange(len(names), dtype=np.float32)[:, None, None], (len(names), WIDTH, 8))
    cache.put(slots, windows, latents, model=1)
    used = np.random.default_rng(1).permutation(len(names)).tolist()
    for number in used:
        cache.find([(("t", 0), [names[number]])])
    for size in (16, 37, 100, 20):
        cache.widen(size)
        assert cache.nbytes <= budget
    kept = used[-cache.capacity :]
    assert len(cache) == cache.capacity < len(names) // 2
    assert sum(holds(cache, 0, name) for name in names) == cache.capacity
    slots = cache.find([(("t", 0), [names[number] for number in kept])])
    assert (slots >= 0).all()
    assert cache.windows(slots)["head"]["offset"].tolist() == kept
    found, known = cache.latents(slots, model=1, size=8)
    assert known.all()
    assert (found == np.array(kept)[:, None, None]).all()
    wide = np.random.default_rng(2).random((3, WIDTH, 100), np.float32)
    cache.put(slots[:3], cache.windows(slots[:3]), wide, model=2)
    found, known = cache.latents(slots, model=2, size=100)
    assert known.tolist() == [True] * 3 + [False] * (len(kept) - 3)
    assert (found[:3] == wide).all()
    assert cache.latents(slots, model=1, size=8)[1].sum() == len(kept) - 3
    assert cache.nbytes <= budget


def test_as_many_windows_as_a_turn_may_need_stay_however_wide_the_latents_are() -> None:
    cache = WindowCache(LAYOUT, 1 << 20, L, least=200)
    before = cache.capacity
    cache.widen(1000)
    assert cache.capacity == before
    cache.widen(L + 1)
    assert 200 <= cache.capacity < before


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, 30), max_size=4)), max_size=20))
def test_whatever_widths_come_each_device_has_its_own_window_and_latents(
    turns: list[tuple[int, set[int]]],
) -> None:
    cache = cache_of(12)
    last: dict[str, tuple[int, int]] = {}  # the model, whose latents have as many numbers, and the tick
    for tick, (size, numbers) in enumerate(turns, start=1):
        cache.widen(size)
        names = [f"d{number}" for number in sorted(numbers)]
        admit(cache, 0, names)
        slots = cache.find([(("t", 0), names)])
        assert (slots >= 0).all()
        windows = LAYOUT.blank(len(names), SOURCE)
        windows["head"]["offset"] = tick
        cache.put(slots, windows, np.full((len(names), WIDTH, size), tick, np.float32), model=size)
        last |= dict.fromkeys(names, (size, tick))
        for name, (model, at) in last.items():
            slot = cache.find([(("t", 0), [name])])
            if slot[0] >= 0:
                assert cache.windows(slot)["head"]["offset"] == at
                latents, known = cache.latents(slot, model, model)
                assert known.all()
                assert (latents == at).all()


def test_more_devices_than_it_holds_is_refused() -> None:
    cache = cache_of(2)
    with pytest.raises(ValueError, match="raise the cache"):
        admit(cache, 0, [f"d{i}" for i in range(cache.capacity + 1)])


def test_no_device_of_a_turn_makes_room_for_another_of_it() -> None:
    """However its devices are spread over partitions."""
    cache = cache_of(6)
    half = cache.capacity // 2
    for number in range(2):
        admit(cache, number, [f"old{i}" for i in range(half)])
    wanted = [(("t", number), [f"new{i}" for i in range(half)]) for number in range(2)]
    cache.find(wanted)
    for partition, devices in wanted:
        cache.admit(partition, devices, LAYOUT.blank(len(devices), SOURCE))
    assert all(cache.find(wanted) >= 0)
