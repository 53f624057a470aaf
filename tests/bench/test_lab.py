"""A part of the laboratory: our own sensor in namespaces. What needs tools and Kafka is `make lab`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.lab import enter, packages, run
from bench.lab.network import ADDRESSES, DEVICES
from bench.lab.scenarios import all_of
from streams.core.flows import Direction, Role
from tests.device_flows import flow_of

AT_MOST_S = 60.0


@pytest.fixture(scope="module")
def flows() -> list[dict[str, Any]]:
    """What the sensor told of a scanning device and of one that calls home."""
    reason = enter.why_not()
    if reason:
        pytest.skip(f"no laboratory: {reason}")
    process = enter.run_inside(
        [sys.executable, "-m", "bench.lab.part"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    printed, said = process.communicate(timeout=AT_MOST_S)
    assert process.returncode == 0, said.decode()
    return [event for line in printed.splitlines() for event in json.loads(line)["flows"]]


def test_a_real_scan_is_seen_to_the_last_host_from_the_device_that_scans(flows: list[dict[str, Any]]) -> None:
    scanned = [one for one in flows if one["peer"].startswith("203.0.113.1") and one["peer_port"] == 23]
    assert len({one["peer"] for one in scanned}) == 60
    told = Counter((one["device"], one["direction"], one["state"]) for one in scanned)
    assert set(told) == {(ADDRESSES["d3"], "out", "no_answer")}


def test_a_beacon_is_answered_connections_of_one_device_to_one_peer(flows: list[dict[str, Any]]) -> None:
    calls = [one for one in flows if one["peer"] == ADDRESSES["atk"] and one["final"]]
    assert len(calls) >= 2
    assert {(one["device"], one["direction"], one["peer_port"], one["state"]) for one in calls} == {
        (ADDRESSES["d2"], "out", 4443, "answered")
    }
    assert len({one["ip_bytes_out"] for one in calls}) == 1


def test_nothing_outside_the_namespaces_was_made(flows: list[dict[str, Any]]) -> None:
    devices = {one["device"] for one in flows if not one["device"].startswith("fe80:")}
    assert devices <= {*DEVICES.values(), "192.168.50.1"}
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "br0" not in links
    named = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not set(ADDRESSES) & set(named.split())


def test_where_it_cannot_run_the_reason_is_said_and_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1_000)
    monkeypatch.setattr(packages, "install", lambda: pytest.fail("packages were installed"))
    said: list[str] = []
    assert run.outside([], said.append) == 0
    assert said == ["lab: skipped: network namespaces need root"]


def test_flows_are_those_of_a_scenario_by_device_peer_port_and_way(tmp_path: Path) -> None:
    scans = {one.name: one for one in all_of(tmp_path)}
    probe = replace(
        flow_of(ADDRESSES["d1"], Role.TARGET),
        direction=Direction.IN, peer=ADDRESSES["atk"], device_port=443, peer_port=40_000,
    )  # fmt: skip
    assert scans["scan in"].fits(probe)
    assert not scans["slow HTTP"].fits(probe)
    assert not scans["scan in"].fits(replace(probe, direction=Direction.OUT))
    assert all(one.seconds <= 20 for one in scans.values())
