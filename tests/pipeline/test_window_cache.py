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
    cache.put(slots, cache.windows(slots), np.ones((1, WIDTH, L + 2), np.float32), model=2)
    assert cache.latents(slots, model=2, size=L + 2)[0].shape == (1, WIDTH, L + 2)


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
