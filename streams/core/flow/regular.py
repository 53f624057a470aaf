"""How regularly a device comes back to a peer and port: intervals, sizes, failures, by the 64 latest keys.

A flow that follows a failed one of its key within two seconds is a retry: the same attempt, no interval. An
interval is the time from the latest flow of a key to its next attempt; what comes late has none.

Intervals and sizes are kept as sums of `octave` codes and of their squares: whole numbers, so that a sum does
not depend on how the flows were cut into turns. At 32 values the sums and the count are halved: what is
regular now outweighs what was. Their spread is a factor, whatever the scale: 0.1 octaves are about 7 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.clocks import latest_of
from streams.core.flow.columns import DeviceFlows, Hashes, Index, Mask
from streams.core.flow.facts import FAILING, FAILING_KNOWN, Facts, bit_length
from streams.core.flow.repeats import mixed
from streams.core.flow.state import KEYS, REGULAR, States, bytes_of, times_of

RETRY_MS: Final = 2_000
HALVED_AT: Final = 32
STEPS: Final = 32
"""Codes an octave."""
MOST: Final = 255
_BLOCK: Final = 256
"""Flows of a device that are looked at together."""

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Regularity:
    """Of each flow's key, the flow included, (N,)."""

    attempts: Index
    streak: Index
    """Failed attempts since the last that did not fail."""
    intervals: Index
    interval_sum: Index
    interval_squares: Index
    sizes: Index
    size_sum: Index
    size_squares: Index


def octave(amount: Index) -> Index:
    """32 whole steps from each power of two to the next, from 32 on; below, the amount itself.

    >>> octave(np.array([0, 5, 31, 32, 63, 64, 96, 128])).tolist()
    [0, 5, 31, 32, 63, 64, 80, 96]
    """
    beyond = np.maximum(bit_length(amount) - 6, 0)
    return np.where(amount < STEPS, amount, (beyond + 1) * STEPS + ((amount >> beyond) & (STEPS - 1)))


def amount_of(code: Index) -> Index:
    """The least amount of that code."""
    beyond = np.maximum(code // STEPS - 1, 0)
    return np.where(code < STEPS, code, (STEPS + code % STEPS) << beyond)


def keys_of(flows: DeviceFlows, facts: Facts) -> Words:
    value: Hashes = mixed(flows.peer ^ mixed(facts.key.astype(np.uint64)))
    return np.maximum((value >> np.uint64(32)).astype(np.uint32), 1)


def regularity(states: States, flows: DeviceFlows, facts: Facts) -> tuple[Regularity, npt.NDArray[np.void]]:
    """Of flows in device order; and the tables (D, KEYS) afterwards."""
    table = bytes_of(states, "regular").copy().view(REGULAR)
    n = len(flows)
    count = np.bincount(flows.device, minlength=len(states))
    place = np.arange(n) - (np.cumsum(count) - count)[flows.device]
    known = (facts.bits & FAILING_KNOWN) != 0
    sized = (flows.ip_bytes_out >= 0) & (flows.ip_bytes_in >= 0)
    happened = _Happened(
        owner=flows.device,
        key=keys_of(flows, facts),
        time_ms=facts.time_ms,
        failing=known & ((facts.bits & FAILING) != 0),
        fine=known & ((facts.bits & FAILING) == 0),
        sized=sized,
        size=octave(np.where(sized, flows.ip_bytes_out + flows.ip_bytes_in, 0)),
    )
    found, last = np.zeros((n, 8), np.int64), int(place.max(initial=-1))
    if last < _BLOCK and count.all():
        found, table = _block(table, happened)
        return Regularity(*found.T), table
    for part in range(last // _BLOCK + 1):
        chosen = np.flatnonzero(place // _BLOCK == part)
        devices, owner = np.unique(flows.device[chosen], return_inverse=True)
        found[chosen], table[devices] = _block(table[devices], happened.at(chosen, owner))
    return Regularity(*found.T), table


@dataclass(frozen=True, slots=True, eq=False)
class _Happened:
    """Flows (N,) as far as this module looks at them, in the order of their devices, then of arrival."""

    owner: Index
    key: Words
    time_ms: Index
    failing: Mask
    fine: Mask
    sized: Mask
    size: Index

    def at(self, places: Index, owner: Index) -> _Happened:
        return _Happened(
            owner,
            self.key[places],
            self.time_ms[places],
            self.failing[places],
            self.fine[places],
            self.sized[places],
            self.size[places],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Chains:
    """Flows (N,) in the order of their keys: each chain is one stay of a key in its device's table."""

    number: Index
    """(N,) of the chain, ascending."""
    first: Index
    """(N,) where the chain begins."""

    def sums(self, values: Index) -> Index:
        """(N,) sums over each chain, up to and with each flow."""
        total = np.cumsum(values)
        return np.asarray(total - (total - values)[self.first])

    def latest(self, here: Mask) -> Index:
        """(N,) the last place before each flow, and in its chain, where `here` is true; -1: none."""
        place = np.maximum.accumulate(np.where(here, np.arange(len(here)), -1))
        before = np.append(-1, place[:-1])[: len(here)]
        return np.where(before >= self.first, before, -1)


def _block(table: npt.NDArray[np.void], flows: _Happened) -> tuple[Index, npt.NDArray[np.void]]:
    """What is known of each flow's key, (N, 8), and the tables (E, KEYS) afterwards."""
    n = len(flows.key)
    whole = flows.owner.astype(np.uint64) << np.uint64(32) | flows.key
    order = np.argsort(whole, kind="stable")
    same = whole[order][1:] == whole[order][:-1]
    before = np.full(n, -1)
    before[order[1:][same]] = order[:-1][same]
    heads = np.flatnonzero(before < 0)
    equal = np.ascontiguousarray(table["key"])[flows.owner[heads]] == flows.key[heads][:, None]
    slot = np.full(n, -1)
    slot[heads] = np.where(equal.any(axis=1), equal.argmax(axis=1), -1)
    kept = _still_there(flows.owner, before, slot)
    begins = ((before < 0) | ~kept)[order]
    chains = _Chains(np.cumsum(begins) - 1, np.maximum.accumulate(np.where(begins, np.arange(n), 0)))
    opening = order[begins]
    start = np.zeros(len(opening), REGULAR)
    known = (slot[opening] >= 0) & kept[opening]
    start[known] = table[flows.owner[opening[known]], slot[opening[known]]]
    after = _along(chains, start, flows.at(order, flows.owner[order]))
    last = np.zeros(n, np.bool_)
    last[order] = np.append(~same, True)[:n]
    rows, found = np.empty(n, REGULAR), np.empty((n, 8), np.int64)
    rows[order] = after
    for i, name in enumerate(_FOUND):
        found[:, i] = rows[name]
    return found, _tables(table, flows.owner, slot, rows, last)


_FOUND: Final = (
    "attempts",
    "streak",
    "intervals",
    "interval_sum",
    "interval_squares",
    "sizes",
    "size_sum",
    "size_squares",
)


def _still_there(owner: Index, before: Index, slot: Index) -> Mask:
    """(N,) whether fewer than KEYS other keys came since each flow's key was there last, if it was."""
    n = len(owner)
    count = np.bincount(owner)
    first = (np.cumsum(count) - count)[owner]
    place = np.arange(n) - first  # (N,) on the device's line: its table, then its flows
    at = np.where(before >= 0, KEYS + before - first, slot)
    kept = np.ones(n, np.bool_)
    suspects = np.flatnonzero((at >= 0) & (KEYS + place - at > KEYS))
    if len(suspects):
        between = np.arange(int(place[suspects].max()))  # flows of the device before a suspect
        where = np.minimum(first[suspects][:, None] + between, n - 1)
        p = at[suspects][:, None]
        others = (between + KEYS > p) & (between < place[suspects][:, None]) & (at[where] <= p)
        kept[suspects] = others.sum(axis=1) + np.maximum(KEYS - 1 - at[suspects], 0) < KEYS
    return kept


def _along(chains: _Chains, start: npt.NDArray[np.void], flows: _Happened) -> npt.NDArray[np.void]:
    """The row of each flow's key after it (N,), in the order of the chains, which begin with `start` (C,)."""
    number = chains.number
    held = times_of(start["last_low"], start["last_high"])
    clock = latest_of(held, number, flows.time_ms)
    met = (np.arange(len(number)) > chains.first) | (start["attempts"][number] > 0)
    said = chains.latest(flows.failing | flows.fine)
    failed = np.where(said >= 0, flows.failing[said], start["streak"][number] > 0)
    attempt = ~(met & failed & (clock.since < RETRY_MS))
    regular = attempt & met & (clock.since >= 0)
    rows = np.zeros(len(number), REGULAR)
    rows["key"] = flows.key
    rows["last_low"], rows["last_high"] = clock.after & 0xFFFFFFFF, clock.after >> 32
    rows["attempts"] = np.minimum(start["attempts"][number] + chains.sums(attempt.astype(np.int64)), MOST)
    rows["streak"] = _streak(chains, start["streak"], flows, attempt)
    waited = octave(np.maximum(clock.since, 0))
    for name, total, adds, code in (
        ("intervals", "interval", regular, waited),
        ("sizes", "size", flows.sized, flows.size),
    ):
        halvings = _Halvings.of(chains, start[name], adds)
        rows[name] = halvings.count
        for part, values in ((f"{total}_sum", code), (f"{total}_squares", code * code)):
            rows[part] = halvings.sums(start[part].astype(np.int64), np.where(adds, values, 0))
    return rows


def _streak(
    chains: _Chains, start: npt.NDArray[np.uint8], flows: _Happened, attempt: Mask
) -> npt.NDArray[np.int64]:
    adds = chains.sums((attempt & flows.failing).astype(np.int64))
    ended = np.maximum.accumulate(np.where(flows.fine, np.arange(len(adds)), -1))
    in_chain = ended >= chains.first
    return np.minimum(np.where(in_chain, adds - adds[ended], start[chains.number] + adds), MOST)


@dataclass(frozen=True, slots=True, eq=False)
class _Halvings:
    """Where, along chains of flows (N,), a count reached HALVED_AT, and it and its sums were halved."""

    chains: _Chains
    count: Index
    times: Index
    """(N,) how often so far."""
    at: Mask

    @classmethod
    def of(cls, chains: _Chains, start: npt.NDArray[np.uint8], adds: Mask) -> _Halvings:
        half = HALVED_AT // 2
        total = start[chains.number] + chains.sums(adds.astype(np.int64))
        times = np.where(total < HALVED_AT, 0, (total - half) // half)
        before = np.append(0, times[:-1])[: len(times)]
        before[chains.first == np.arange(len(times))] = 0
        return cls(chains, total - half * times, times, times > before)

    def sums(self, start: Index, values: Index) -> Index:
        """(N,) sums of the values, halved where the count was; `start` (C,) is each chain's."""
        number = self.chains.number
        total = start[number] + self.chains.sums(values)
        gone = np.zeros(len(start), np.int64)
        found = total.copy()
        for turn in range(1, int(self.times.max(initial=0)) + 1):
            at = np.flatnonzero(self.at & (self.times == turn))
            gone[number[at]] = total[at] - (total[at] - gone[number[at]]) // 2
            since = self.times == turn
            found[since] = total[since] - gone[number[since]]
        return found


def _tables(
    table: npt.NDArray[np.void], owner: Index, slot: Index, rows: npt.NDArray[np.void], last: Mask
) -> npt.NDArray[np.void]:
    """The KEYS latest keys of each table (E, KEYS) and of the last flows of their keys."""
    added, mine = np.bincount(owner[last], minlength=len(table)), np.flatnonzero(last)
    whole = table.view(_WHOLE)
    if (added == 1).all():  # one key of each moves to the end, the others close up
        gone = np.maximum(slot[np.flatnonzero(slot >= 0)], 0)
        begin = np.zeros(len(table), np.int64)
        begin[owner[slot >= 0]] = gone
        behind = np.arange(KEYS)
        from_ = np.minimum(behind + (behind >= begin[:, None]), KEYS - 1)
        after = whole.reshape(-1)[np.arange(len(table))[:, None] * KEYS + from_]
        after[:, -1] = rows.view(_WHOLE)[mine]
        return after.view(REGULAR)
    stays = table["key"] != 0
    stays[owner[slot >= 0], slot[slot >= 0]] = False
    behind = np.cumsum(stays[:, ::-1], axis=1)[:, ::-1] + added[:, None]  # (E, KEYS) keys from each on
    after = np.zeros(table.shape, REGULAR).view(_WHOLE)
    device, place = np.nonzero(stays & (behind <= KEYS))
    after[device, KEYS - behind[device, place]] = whole[device, place]
    rank = np.arange(len(mine)) - (np.cumsum(added) - added)[owner[mine]]
    at = KEYS - added[owner[mine]] + rank
    fits = at >= 0
    after[owner[mine[fits]], at[fits]] = rows.view(_WHOLE)[mine[fits]]
    return after.view(REGULAR)


_WHOLE: Final = np.dtype(f"V{REGULAR.itemsize}")
"""A key's entry as bytes: moved whole."""
