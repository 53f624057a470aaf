"""States and records in, rows of the table `flow` and states out: what the stream and training share.

    records   in arrival order, of many devices
      repeats       what was there before changes nothing                          repeats.py
      settling      halves and interim records become flows                        settling.py
      facts         what each flow says by itself                                  facts.py
      familiar      what its device did before, over days                          familiar.py
      regular       how regularly it comes back to this peer and port              regular.py
      comparison    with the last connections, in windows                          tape.py, comparison.py
    rows      one for each flow that counts

The same records give the same rows and states, bit for bit, however they are cut into turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.clocks import Latest, latest_of
from streams.core.flow.columns import DeviceFlows, Index, Mask, Protocol, bounded, unsure_of_direction
from streams.core.flow.comparison import Comparison, Window, compared
from streams.core.flow.facts import NEW_PEER, UNANSWERED, UNANSWERED_KNOWN, Facts, facts_of
from streams.core.flow.familiar import met_before
from streams.core.flow.records import Patience
from streams.core.flow.regular import STEPS, Regularity, amount_of, regularity
from streams.core.flow.repeats import new_records
from streams.core.flow.settling import settle
from streams.core.flow.state import STATE, States, bytes_of
from streams.core.flow.table import CLASS_OF_PORT, COUNTS, FLOW, PORT_CLASSES, SHARES, STATES, SUMS
from streams.core.flow.tape import keep, laid_out
from streams.core.flows import State
from streams.core.tables import Rows

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Passing:
    """Time as it passes with N records."""

    latest_us: Index
    """(D,) of the devices before them."""
    time_us: Index
    """(N,) what each record's end counts as."""
    patience: Patience


@dataclass(frozen=True, slots=True, eq=False)
class Advance:
    """What became of a turn's N records."""

    record: Index
    """(M,) the record with which each flow counted, ascending; a record may let an older one go, too."""
    flows: DeviceFlows
    """(M,) those that count."""
    rows: Rows
    """(M,) of FLOW."""
    age_ms: Index
    """(M,) how long the device has been known by then: from its first flow to its latest, in event time."""
    new: Mask
    """(N,) False: a repeat."""
    states: States
    """(D,) afterwards."""


def advance(states: States, records: DeviceFlows, passing: Passing | None = None) -> Advance:
    """Records (N,) in arrival order, and the states (D,) of their devices before them.

    Without `passing` nothing that waits is let go for having waited.
    """
    order = np.argsort(records.device, kind="stable")
    sorted_ = bounded(records.at(order))
    new, seen = new_records(states, sorted_)
    sorted_ = sorted_ if new.all() else sorted_.at(new)
    if passing is None:
        settled = settle(states, sorted_)
    else:
        clock = latest_of(passing.latest_us, sorted_.device, passing.time_us[order][new])
        settled = settle(states, sorted_, clock.after, passing.patience)
    rows, age_ms, after = _described(states, settled.flows)
    after["seen"] = seen
    bytes_of(after, "held")[:] = settled.held.view(np.uint8).reshape(len(after), -1)
    is_new = np.empty(len(order), np.bool_)
    is_new[order] = new
    record = order[new][settled.cause]
    arrival = np.argsort(record, kind="stable")
    return Advance(record[arrival], settled.flows.at(arrival), rows[arrival], age_ms[arrival], is_new, after)


def advance_released(states: States, flows: DeviceFlows) -> Advance:
    """Flows (M,) in device order that `settling.release` let go: they count as they are."""
    rows, age_ms, after = _described(states, flows)
    for part in ("seen", "held"):
        bytes_of(after, part)[:] = bytes_of(states, part)
    return Advance(np.arange(len(flows)), flows, rows, age_ms, np.ones(len(flows), np.bool_), after)


def _described(states: States, flows: DeviceFlows) -> tuple[Rows, Index, States]:
    """Rows of flows (M,) in device order, ages of their devices, states but for what waits and was seen."""
    facts = facts_of(flows)
    familiar, cells = met_before(states, flows, facts)
    regular, table = regularity(states, flows, facts)
    bits = facts.bits | np.where(familiar[:, 0], 0, NEW_PEER).astype(np.uint8)
    tape = laid_out(states, flows.device, facts, bits)
    clock = latest_of(states["head"]["latest_ms"], flows.device, facts.time_ms)
    table_row = _Row(len(flows))
    table_row.flow(flows, facts, ~familiar)
    table_row.number("gap_s", np.maximum(clock.since, 0) / 1e3, clock.before > 0)
    table_row.windows(compared(tape))
    table_row.regular(regular)
    after = np.empty(len(states), STATE)
    bytes_of(after, "head")[:] = bytes_of(states, "head")
    _count(after["head"], flows.device, clock)
    keep(tape, after["connections"])
    bytes_of(after, "regular")[:] = table.view(np.uint8)
    bytes_of(after, "familiar")[:] = cells
    first_ms = after["head"]["first_s"].astype(np.int64)[flows.device] * 1000
    return table_row.packed(), np.maximum(clock.after - first_ms, 0), after


_MOST: Final = 2**32 - 1


def _count(head: npt.NDArray[np.void], device: Index, clock: Latest) -> None:
    changes = device[1:] != device[:-1]
    last = np.flatnonzero(np.append(changes, True)[: len(device)])
    head["latest_ms"][device[last]] = clock.after[last]
    first = np.flatnonzero(np.append(True, changes)[: len(device)])
    first = first[head["count"][device[first]] == 0]
    head["first_s"][device[first]] = np.minimum(clock.times[first] // 1000, _MOST)
    count = head["count"] + np.bincount(device, minlength=len(head))
    head["count"] = np.minimum(count, _MOST)


_NUMBER: Final = {name: place for place, name in enumerate(FLOW.numeric_names)}
_SYMBOL: Final = {name: place for place, name in enumerate(FLOW.symbolic_names)}
_STATE_CODES: Final = np.array(
    [
        {
            State.UNKNOWN: 0,
            State.ANSWERED: STATES.index("ok") + 1,
            State.NO_ANSWER: STATES.index("no_answer") + 1,
            State.REFUSED: STATES.index("refused") + 1,
            State.RESET: STATES.index("reset") + 1,
            State.HALF_OPEN: STATES.index("partial") + 1,
            State.PARTIAL: STATES.index("partial") + 1,
        }[state]
        for state in State
    ],
    np.uint8,
)


class _Row:
    """N rows being filled, column by column."""

    def __init__(self, n: int) -> None:
        self._numbers = np.zeros((len(_NUMBER), n), np.float32)
        self._codes = np.zeros((len(_SYMBOL), n), np.uint8)
        self._present = np.ones((len(FLOW.names), n), np.bool_)

    def packed(self) -> Rows:
        return FLOW.pack(self._numbers.T, self._codes.T, self._present.T)

    def number(self, name: str, values: Numbers | Index | Mask, present: Mask | None = None) -> None:
        self._numbers[_NUMBER[name]] = values
        if present is not None:
            self._present[_NUMBER[name]] = present

    def share(self, name: str, part: Index, whole: Index, present: Mask | None = None) -> None:
        there = whole > 0 if present is None else present & (whole > 0)
        self.number(name, part / np.maximum(whole, 1), there)

    def symbol(self, name: str, codes: npt.NDArray[np.generic], present: Mask | None = None) -> None:
        self._codes[_SYMBOL[name]] = codes
        if present is not None:
            self._present[len(_NUMBER) + _SYMBOL[name]] = present

    def flow(self, flows: DeviceFlows, facts: Facts, new: Mask) -> None:
        """The flow itself; `new` (N, 3): its peer, port and service were never met."""
        out, into, bytes_out, bytes_in = (
            flows.packets_out,
            flows.packets_in,
            flows.ip_bytes_out,
            flows.ip_bytes_in,
        )
        counted, sure = (out >= 0) & (into >= 0), ~unsure_of_direction(flows)
        duration_us = flows.end_us - flows.start_us
        self.number("duration_s", duration_us / 1e6, (duration_us > 0) & ~(counted & (out + into <= 1)))
        for way, packets, amount in (("out", out, bytes_out), ("in", into, bytes_in)):
            self.number(f"packets_{way}", packets, packets >= 0)
            self.number(f"ip_bytes_{way}", amount, amount >= 0)
            known = (packets > 0) & (amount >= 0)
            self.number(f"mean_bytes_{way}", amount / np.maximum(packets, 1), known)
        self.share("packets_out_share", out, out + into, counted & sure)
        sized = (bytes_out >= 0) & (bytes_in >= 0)
        self.share("bytes_out_share", bytes_out, bytes_out + bytes_in, sized & sure)
        answer_known = (facts.bits & UNANSWERED_KNOWN) != 0
        self.number("no_answer", (facts.bits & UNANSWERED) != 0, answer_known)
        self.number("one_packet", out + into <= 1, counted)
        self.number("new_peer", new[:, 0])
        self.number("new_port", new[:, 1])
        self.number("new_service", new[:, 2], flows.service != 0)
        self._symbols(flows, facts, sure)

    def _symbols(self, flows: DeviceFlows, facts: Facts, sure: Mask) -> None:
        self.symbol("role", flows.role + 1)
        self.symbol("direction", flows.direction + 1)
        self.symbol("protocol", flows.protocol, flows.protocol != Protocol.OTHER)
        self.symbol("peer_kind", flows.peer_kind + 1)
        told = _STATE_CODES[np.minimum(flows.state, len(_STATE_CODES) - 1)]
        silent = (facts.bits & UNANSWERED) != 0
        counted = np.where(silent, _STATE_CODES[State.NO_ANSWER], _STATE_CODES[State.ANSWERED])
        by_counters = (told == 0) & (flows.protocol != Protocol.TCP) & ((facts.bits & UNANSWERED_KNOWN) != 0)
        code = np.where(by_counters, counted, told)
        self.symbol("state", code, code > 0)
        classes = CLASS_OF_PORT[facts.key & 0xFFFF]
        classes = np.where(flows.protocol == Protocol.ICMP, PORT_CLASSES.index("icmp") + 1, classes)
        self.symbol("port_class", classes, sure & (flows.protocol != Protocol.OTHER))

    def windows(self, compared_: Comparison) -> None:
        for prefix, window in (("recent", compared_.recent), ("last", compared_.last)):
            self._window(prefix, window)
        for name in ("minute_flows", "minute_same", "hour_flows", "hour_same"):
            self.number(name, getattr(compared_, name))

    def _window(self, prefix: str, window: Window) -> None:
        for name in COUNTS:
            self.number(f"{prefix}_{name}", getattr(window, name))
        for name in SHARES:
            self.share(f"{prefix}_{name}", getattr(window, name), getattr(window, f"{name}_known"))
        for name in SUMS:
            self.number(f"{prefix}_{name}", getattr(window, name), window.bytes_known > 0)
        self.share(f"{prefix}_bytes_out_share", window.bytes_out, window.bytes_out + window.bytes_in)

    def regular(self, found: Regularity) -> None:
        self.number("attempts", found.attempts)
        self.number("fail_streak", found.streak)
        typical = amount_of(found.interval_sum // np.maximum(found.intervals, 1))
        self.number("interval_s", typical / 1e3, found.intervals > 0)
        for name, count, total, squares in (
            ("interval_spread", found.intervals, found.interval_sum, found.interval_squares),
            ("size_spread", found.sizes, found.size_sum, found.size_squares),
        ):
            spread = np.sqrt(np.maximum(count * squares - total * total, 0))
            self.number(name, spread / np.maximum(count, 1) / STEPS, count > 1)
