"""Alerts of flows say what happened in the words of a network's people."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.flow.features import advance
from streams.core.flow.records import Record, flows_of
from streams.core.flow.saying import MOST_SAID, FlowTold, Usual, said
from streams.core.flow.state import blank
from streams.core.flows import State
from tests.core.flow.drawn import START_US, drawn, record

HERE = Usual(here=MappingProxyType({"recent_failing_peers_on_port": 0.0, "last_failing_peers_on_port": 0.0}))
REFUSED = {"state": int(State.REFUSED), "packets_out": 1, "packets_in": 1, "ip_bytes_out": 40}


def last_row(records: list[Record]) -> np.void:
    row: np.void = advance(blank(3), flows_of(records)).rows[-1]
    return row


def burst(count: int, step_us: int, **changes: object) -> list[Record]:
    """One every `step_us`; values that are callable are of the place."""
    made = []
    for place in range(count):
        at_us = START_US + place * step_us
        of = {name: value(place) if callable(value) else value for name, value in changes.items()}
        made.append(record(start_us=at_us, end_us=at_us + 1_000, identity=place + 1, **of))
    return made


def told(peer: str = "198.51.100.7", port: int = 4975, protocol: str = "tcp", began: bool = True) -> FlowTold:
    return FlowTold(peer, port, protocol, began)


def test_a_scan() -> None:
    records = burst(12, 100_000, peer=lambda place: place + 1, peer_port=23, **REFUSED)
    texts = said(last_row(records), told(port=23), "probe", HERE)
    assert texts[0] == "12 hosts failed on port 23 in 2 s; usual here 0"


def test_a_slow_scan() -> None:
    records = burst(12, 60_000_000, peer=lambda place: place + 1, peer_port=23, **REFUSED)
    texts = said(last_row(records), told(port=23), "probe")
    assert texts[0] == "12 hosts failed on port 23 among the last 12 connections"


def test_a_scan_of_one_hosts_ports() -> None:
    records = burst(30, 10_000, peer=5, peer_port=lambda place: 1_000 + place, **REFUSED)
    assert (
        said(last_row(records), told("203.0.113.9", 1_029), "probe")[0]
        == "30 ports of 203.0.113.9 failed in 2 s"
    )


def test_a_device_that_is_scanned() -> None:
    came = {"role": 1, "direction": 1, "peer": 5, **REFUSED}
    records = burst(30, 10_000, device_port=lambda place: 1_000 + place, peer_port=50_000, **came)
    texts = said(last_row(records), told("203.0.113.9", 1_029, began=False), "probe")
    assert texts[0] == "203.0.113.9 failed on 30 ports of this device in 2 s"


@pytest.mark.parametrize(
    ("count", "state", "text"),
    [
        (51, State.REFUSED, "51 refused connections in a row to 198.51.100.7:4975"),
        (300, State.NO_ANSWER, "255 or more unanswered connections in a row to 198.51.100.7:4975"),
    ],
)
def test_what_keeps_calling_in_vain(count: int, state: State, text: str) -> None:
    records = burst(count, 20_000_000, peer=7, peer_port=4975, **{**REFUSED, "state": int(state)})
    texts = said(last_row(records), told(), "c2")
    assert texts[0] == text
    assert "a connection to 198.51.100.7:4975 about every 20 s" in texts[1]


def test_a_flood() -> None:
    records = burst(90, 10_000, peer=7, peer_port=80, device_port=lambda place: 40_000 + place)
    texts = said(last_row(records), told("203.0.113.9", 80), "dos")
    assert texts[0] == "90 connections to port 80 in 2 s"


def test_guessing_of_passwords() -> None:
    came = {
        "role": 1,
        "direction": 1,
        "peer": 5,
        "device_port": 22,
        "peer_port": lambda place: 50_000 + place,
    }
    texts = said(last_row(burst(40, 700_000, **came)), told("203.0.113.9", 22, began=False), "r2l")
    assert texts[0] == "40 connections from 203.0.113.9 to this device's port 22"


def test_an_ordinary_flow_to_a_known_peer_has_nothing_to_say() -> None:
    assert said(last_row(burst(3, 60_000_000, peer=7)), told(port=443), "novel") == ()


def test_what_is_usual_here_is_not_said() -> None:
    records = burst(12, 100_000, peer=lambda place: place + 1, peer_port=23, **REFUSED)
    names = ("recent_failing_peers_on_port", "last_failing_peers_on_port")
    busy = Usual(here=dict.fromkeys(names, 20.0))
    assert not any("hosts failed" in text for text in said(last_row(records), told(port=23), "probe", busy))
    trained = Usual(in_training=dict.fromkeys(names, 3.0))
    assert said(last_row(records), told(port=23), "probe", trained)[0].endswith("in 2 s; usual 3")


def test_an_ipv6_peer_and_one_that_is_not_known() -> None:
    row = last_row(burst(20, 20_000_000, peer=7, peer_port=4975, **REFUSED))
    assert "to [2001:db8::1]:4975" in said(row, told("2001:db8::1"), "c2")[0]
    assert "to the other end, port 4975" in said(row, told(""), "c2")[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["probe", "dos", "c2", "r2l", "novel", "normal"]))
def test_any_flow_has_few_texts_of_one_line(seed: int, verdict: str) -> None:
    for row in advance(blank(3), flows_of(drawn(seed, 60))).rows:
        texts = said(row, told("10.0.0.1\n", began=bool(seed % 2)), verdict)
        assert len(texts) <= MOST_SAID
        assert len(set(texts)) == len(texts)
        assert all(text and text.isprintable() and len(text) < 160 for text in texts)
