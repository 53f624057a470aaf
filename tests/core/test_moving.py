"""Structured arrays that are moved as bytes are what numpy would have made of them."""

from __future__ import annotations

import numpy as np

from streams.core.moving import as_bytes, copied

PAIR = np.dtype([("a", "<i4"), ("b", "u1", (3,)), ("c", [("d", "<f8")])])


def drawn() -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.frombuffer(np.random.default_rng(1).bytes(9 * PAIR.itemsize), PAIR)


def test_copies_are_equal_and_apart() -> None:
    pairs = drawn()
    places = np.array([4, 0, 4])
    assert copied(pairs).tobytes() == pairs.tobytes()
    assert copied(pairs, places).tobytes() == pairs[places].tobytes()
    other = copied(pairs)
    other["a"] += 1
    assert (other["a"] != pairs["a"]).all()


def test_fields_of_a_larger_array_are_moved_alone() -> None:
    whole = np.zeros(9, [("before", "u1"), ("pair", PAIR), ("after", "u1")])
    as_bytes(whole["pair"])[[3, 1]] = as_bytes(drawn()[:2])
    assert whole["pair"][[3, 1]].tobytes() == drawn()[:2].tobytes()
    assert not whole["before"].any()
    assert not whole["after"].any()
    assert copied(whole["pair"], np.array([3])).tobytes() == drawn()[:1].tobytes()
