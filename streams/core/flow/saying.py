"""What drove a flow's verdict in words that a network's people use: "12 hosts failed on port 23 in 2 s".

Said of the event's own features and of its record, and beside each number what is usual: at this site, as its
profile knows, or in training, as the model does. A number that is as usual is not said. At most MOST_SAID
texts, the strongest first; where nothing stands out, none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.state import LAST
from streams.core.flow.table import FLOW
from streams.legible import one_line

MOST_SAID: Final = 3
_MOST_STREAK: Final = 255
"""Failures in a row and attempts are counted up to here."""
_REGULAR_OCTAVES: Final = 0.25
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FlowTold:
    """Of a flow's record: the other end, and the port that was asked for (of ICMP type and code)."""

    peer: str
    """Its address; empty: not known."""
    port: int
    protocol: str
    is_originator: bool
    """Whether the device began."""


@dataclass(frozen=True, slots=True)
class Usual:
    """By column of the table `flow`."""

    here: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What most of the site's clean flows do not exceed."""
    in_training: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, column: str) -> tuple[float, str]:
        """The value that is not exceeded as a rule, and how to say it."""
        if column in self.here:
            return self.here[column], f"; usual here {_number(self.here[column])}"
        if column in self.in_training:
            return self.in_training[column], f"; usual {_number(self.in_training[column])}"
        return 0.0, ""


def said(row: np.void, flow: FlowTold, verdict: str, usual: Usual = Usual()) -> tuple[str, ...]:
    """`row` is one of FLOW; `verdict` the alert's class, of `novel` alerts rather the closest one's."""
    values = _Values(row, usual)
    order = _BY_VERDICT.get(verdict, _EVERY)
    texts: list[str] = []
    for of in (*order, *(other for other in _EVERY if other not in order)):
        texts += [text for text in of(values, flow) if text not in texts]
    return tuple(texts[:MOST_SAID])


class _Values:
    """A row's numbers by name."""

    def __init__(self, row: np.void, usual: Usual) -> None:
        one: npt.NDArray[np.void] = np.array([row])
        self._numbers = dict(zip(FLOW.numeric_names, one["numbers"][0].tolist(), strict=True))
        there = FLOW.present(one)[0].tolist()
        self._there = dict(zip(FLOW.names, there, strict=True))
        codes = zip(FLOW.symbolic, one["codes"][0].tolist(), strict=True)
        self._symbols = {of.name: of.symbols[code - 1] if code else "" for of, code in codes}
        self._usual = usual

    def number(self, name: str) -> float | None:
        return self._numbers[name] if self._there[name] else None

    def symbol(self, name: str) -> str:
        return self._symbols[name] if self._there[name] else ""

    def odd(self, name: str, least: float = 2) -> float | None:
        """The number, if it is above what is usual, and at least so much."""
        value = self.number(name)
        return value if value is not None and value >= least and value > self._usual.of(name)[0] else None

    def usual(self, name: str) -> str:
        return self._usual.of(name)[1]

    def window(self, name: str, least: float = 2) -> tuple[float, str, str] | None:
        """A count that stands out: of the 2 s where they hold most of it, else of the last connections.

        With when it was, and what is usual.
        """
        recent, last = self.odd(f"recent_{name}", least), self.odd(f"last_{name}", least)
        if recent is not None and (last is None or 2 * recent >= last):
            return recent, "in 2 s", self.usual(f"recent_{name}")
        if last is None:
            return None
        flows = self._numbers["last_flows"]
        when = f"among the last {_number(flows)} connections"
        return last, when, self.usual(f"last_{name}")


def _spread(values: _Values, flow: FlowTold) -> Iterator[str]:
    """Many peers on one port, many ports on one peer: scans, and floods from many."""
    found = values.window("failing_peers_on_port")
    if found is not None:
        count, when, usual = found
        whose = "" if flow.is_originator else "this device's "
        yield f"{_count(count)} hosts failed on {whose}{_port(flow)} {when}{usual}"
    found = values.window("failing_ports_on_peer")
    if found is not None:
        count, when, usual = found
        peer = _peer(flow)
        if flow.is_originator:
            yield f"{_count(count)} ports of {peer} failed {when}{usual}"
        else:
            yield f"{peer} failed on {_count(count)} ports of this device {when}{usual}"


def _in_vain(values: _Values, flow: FlowTold) -> Iterator[str]:
    """One host and port, again and again."""
    streak = values.odd("fail_streak", 3)
    found = values.window("failures_to_host_port", 3)
    if streak is not None and (found is None or streak >= found[0]):
        usual = values.usual("fail_streak")
        yield f"{_count(streak, _MOST_STREAK)} {_how(values)} connections in a row {_ends(flow)}{usual}"
    elif found is not None:
        count, when, usual = found
        yield f"{_count(count)} failed connections {_ends(flow)} {when}{usual}"


def _busy(values: _Values, flow: FlowTold) -> Iterator[str]:
    found = values.odd("recent_same_port", 10)
    if found is not None:
        whose = "" if flow.is_originator else "this device's "
        usual = values.usual("recent_same_port")
        yield f"{_count(found)} connections to {whose}{_port(flow)} in 2 s{usual}"


def _regular(values: _Values, flow: FlowTold) -> Iterator[str]:
    attempts, interval = values.number("attempts"), values.number("interval_s")
    spread = values.number("interval_spread")
    if attempts is None or interval is None or spread is None or attempts < 8 or spread > _REGULAR_OCTAVES:
        return
    if interval >= 1:
        times = _count(attempts, _MOST_STREAK)
        yield f"a connection {_ends(flow)} about every {_seconds(interval)}, {times} times"


def _again(values: _Values, flow: FlowTold) -> Iterator[str]:
    """What guessing of passwords looks like: answered, and often."""
    attempts = values.odd("attempts", 8)
    if attempts is not None and not values.number("no_answer"):
        usual = values.usual("attempts")
        yield f"{_count(attempts, _MOST_STREAK)} connections {_ends(flow)}{usual}"


def _new(values: _Values, flow: FlowTold) -> Iterator[str]:
    if values.number("new_peer"):
        yield f"{_peer(flow)} is new to this device"
    if values.number("new_port"):
        whose = "the service" if flow.is_originator else "this device's service"
        yield f"{whose} at {_port(flow)} is new to this device"


def _much(values: _Values, flow: FlowTold) -> Iterator[str]:
    for name, said_ in (("ip_bytes_out", "sent"), ("ip_bytes_in", "received")):
        amount = values.odd(name, _MEGABYTE)
        if amount is not None:
            way = "to" if name == "ip_bytes_out" else "from"
            yield f"{amount / _MEGABYTE:,.1f} MB {said_} {way} {_peer(flow)}{values.usual(name)}"


_EVERY: Final = (_spread, _in_vain, _busy, _regular, _again, _much, _new)
_BY_VERDICT: Final = {
    "probe": (_spread, _in_vain),
    "dos": (_busy, _in_vain, _spread),
    "c2": (_in_vain, _regular, _again),
    "r2l": (_again, _in_vain, _new),
}


def _port(flow: FlowTold) -> str:
    if flow.protocol == "icmp":
        return f"ICMP type {flow.port >> 8}"
    return (
        f"port {flow.port}" if flow.protocol in ("tcp", "") else f"{flow.protocol.upper()} port {flow.port}"
    )


def _peer(flow: FlowTold) -> str:
    return one_line(flow.peer) if flow.peer else "the other end"


def _ends(flow: FlowTold) -> str:
    """To whom, or from whom to what."""
    if not flow.is_originator:
        return f"from {_peer(flow)} to this device's {_port(flow)}"
    if not flow.peer or flow.protocol == "icmp":
        return f"to {_peer(flow)}, {_port(flow)}"
    address = f"[{_peer(flow)}]" if ":" in flow.peer else _peer(flow)
    return f"to {address}:{flow.port}" + ("" if flow.protocol == "tcp" else f"/{flow.protocol}")


def _how(values: _Values) -> str:
    return {"refused": "refused", "no_answer": "unanswered"}.get(values.symbol("state"), "failed")


def _count(value: float, most: int = LAST) -> str:
    return f"{value:,.0f} or more" if value >= most else f"{value:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"
