"""`autodeep flows doctor`: what is odd about a sensor's records is named, with what to change."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.flows import app, settings_of
from streams.client.flow_files import Options, opened, records
from streams.client.flow_reading import blocks
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.home import Home, parse_home
from streams.doctor import flow_survey
from streams.doctor.findings import Finding, Level, exit_code
from streams.doctor.flow_rules import findings
from streams.doctor.flow_survey import Recent, Spread, Survey, figures
from tests.flow_samples import bytes_of, data, eve, goflow2, zeek, zeek_udp

S = 1_790_000_000


def surveyed(path: Path, home: Home | None = None, some: slice = slice(None)) -> Survey:
    """Of some of a file's records."""
    survey, decoder = Survey(home or Home()), FlowDecoder()
    with opened(str(path)) as stream:
        for block in blocks(itertools.islice(records(stream, str(path), Options()), some.start, some.stop)):
            survey.add(block, decoder.decode(block, block[0].header))
    return survey


@pytest.fixture
def found(tmp_path: Path) -> Any:
    """Findings of made records by what they are about: found([zeek(), ...], home=...)."""

    def of(values: list[Any], home: Home | None = None) -> dict[str, Finding]:
        path = tmp_path / "records"
        path.write_bytes(b"\n".join(bytes_of(value) for value in values))
        return {one.check: one for one in findings(surveyed(path, home))}

    return of


def many(count: int = 20, **changed: Any) -> list[dict[str, Any]]:
    return [zeek(uid=f"C{at}", **{"id.orig_p": 40_000 + at, **changed}) for at in range(count)]


def kafka(value: object, at_s: float) -> dict[str, Any]:
    return {"partition": 0, "offset": 0, "timestamp_ms": int(at_s * 1000), "value": bytes_of(value).decode()}


def test_sound_records_are_sound(found: Any) -> None:
    named = many(orig_l2_addr="02:00:00:00:00:01", community_id="1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
    shown = found(named)
    assert exit_code(shown.values()) == 0
    assert {one.level for one in shown.values()} == {Level.GOOD}
    assert "20 flows in 20 records: zeek 20" in shown["records"].found


def test_nothing_that_can_be_read_is_broken(found: Any) -> None:
    assert found([])["records"].level is Level.BROKEN
    shown = found(many(3, ts=19.5))
    assert (shown["records"].level, shown["refused"].level) == (Level.BROKEN, Level.WARNING)
    assert "3 of 3 (100.0%) as bad_event_time" in shown["refused"].found
    assert "relative times" in shown["refused"].advice


def test_home_networks_that_no_flow_is_in_are_broken_and_named(found: Any) -> None:
    shown = found(many(), parse_home("172.16.0.0/12"))
    assert shown["home"].level is Level.BROKEN
    assert "192.168.0.0/16 20" in shown["home"].found
    assert "AUTODEEP_HOME_NETWORKS" in shown["home"].advice
    assert "of them with" not in shown["home"].found
    server = [one | {"id.resp_h": f"198.51.100.{at}"} for at, one in enumerate(many())]
    alone = found(server, parse_home("172.16.0.0/12"))["home"]
    assert "20 of them with 192.168.1.20" in alone.found
    assert "192.168.1.20/32" in alone.advice
    some = found([*many(17), *many(3, **{"id.orig_h": "198.51.100.7"})])
    assert some["home"].level is Level.WARNING


def test_many_foreign_addresses_are_counted_together_and_none_is_taken_for_the_one(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_survey, "_MOST_NAMED", 1)
    foreign = [
        zeek(uid=f"C{at}", **{"id.orig_h": f"198.51.100.{at}", "id.resp_h": f"203.0.113.{at}"})
        for at in range(1, 200)
    ]
    assert "of them with" not in found(foreign)["home"].found


def test_flows_between_groups_and_the_unspecified_are_nobodys_fault(found: Any) -> None:
    dhcp = zeek_udp(**{"id.orig_h": "0.0.0.0", "id.resp_h": "255.255.255.255"})
    assert found([*many(2), *[dhcp] * 8])["home"].level is Level.GOOD


def test_a_sensor_of_one_direction_is_said_once(found: Any) -> None:
    shown = found(many(proto="udp", conn_state="SHR", history="d", orig_pkts=0))
    assert shown["direction"].level is Level.WARNING
    assert "20 of 20 (100.0%) show one direction of two" in shown["direction"].found


def test_halves_without_their_other_halves_are_a_router_that_exports_one_way(found: Any) -> None:
    there = [goflow2(src_port=40_000 + at) for at in range(20)]
    back = [
        goflow2(src_addr="203.0.113.9", dst_addr="192.168.1.20", src_port=443, dst_port=40_000 + at)
        for at in range(20)
    ]
    assert found(there)["halves"].level is Level.WARNING
    assert "40 of 40" in found([*there, *back])["halves"].found
    assert found([*there, *back])["halves"].level is Level.GOOD


def test_repeats_under_other_uids_are_counted_and_growing_flows_are_no_repeats(found: Any) -> None:
    shown = found([*many(), *[{**one, "uid": one["uid"] + "x"} for one in many()]])
    assert "20 of 40 (50.0%) came before" in shown["repeats"].found
    grown = found([zeek(duration=at, orig_pkts=at) for at in range(1, 21)])
    assert "repeats" not in grown
    assert "19 of 20" in grown["interim"].found


def test_zero_counters_are_named_and_are_neither_a_flood_nor_repeats(found: Any) -> None:
    zeros = dict.fromkeys(("orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"), 0)
    nothing = {"duration": None, "orig_bytes": None, "resp_bytes": None, "history": "C", "conn_state": "OTH"}
    shown = found([zeek(**zeros, **nothing)] * 20)
    assert shown["counters"].level is Level.WARNING
    assert "ethtool" in shown["counters"].advice
    assert "repeats" not in shown


@pytest.mark.parametrize(
    ("record", "check", "level"),
    [
        (goflow2(sampling_rate=100), "sampled", Level.WARNING),
        (zeek(history="^hADadFf"), "flipped", Level.WARNING),
        (zeek(history="ShADgaFf"), "gaps", Level.WARNING),
        (zeek(history="CShADadFf"), "checksums", Level.WARNING),
        (eve(flow={"reason": "shutdown"}), "cut", Level.NOTE),
        (zeek_udp(conn_state="S0", history="D", resp_pkts=0), "datagrams", Level.NOTE),
        (zeek(), "mac", Level.NOTE),
        (eve(), "community id", Level.NOTE),
    ],
)
def test_each_oddity_has_a_line_of_its_own(record: Any, check: str, level: Level, found: Any) -> None:
    assert found([record] * 5)[check].level is level


def test_suricatas_netflow_events_are_named_and_broken_without_flow_events(found: Any) -> None:
    double = eve(event_type="netflow")
    assert found([*many(), double])["netflow"].level is Level.NOTE
    assert found([double])["netflow"].level is Level.BROKEN
    assert "put in flow" in found([double])["netflow"].advice


def test_a_mac_that_stands_for_many_addresses_is_a_routers(found: Any) -> None:
    behind = [zeek(orig_l2_addr="02:00:00:00:00:01", **{"id.orig_h": f"10.1.2.{at}"}) for at in range(1, 12)]
    assert found(behind)["routers"].level is Level.WARNING
    assert "02:00:00:00:00:01" in found(behind)["routers"].found
    assert "routers" not in found(behind[:5])


def test_late_and_slow_flows_are_measured(found: Any) -> None:
    shown = found([zeek(ts=S + 9_000), *(zeek(ts=S + at) for at in range(3))])
    assert shown["order"].level is Level.WARNING
    assert "3 of 4 (75.0%)" in shown["order"].found
    assert "2.5 h" in shown["order"].found
    slow = found([kafka(zeek(ts=S, duration=0), S + 70) for _ in range(4)])
    assert slow["delay"].level is Level.WARNING
    assert "Zeek" in slow["delay"].advice


def test_clocks_are_told_by_sensor(found: Any) -> None:
    ahead = [kafka(zeek(ts=S + 90, duration=0, _system_name="gw-1"), S) for _ in range(3)]
    far = [kafka(zeek(ts=S - 365 * 86_400, _system_name="gw-2"), S) for _ in range(3)]
    shown = found(ahead)
    assert shown["clock"].level is Level.WARNING
    assert "gw-1: flows end up to 90 s after Kafka has them" in shown["clock"].found
    assert "gw-2: 3 of 3 (100.0%) have times far" in found(far)["clock"].found
    right = found([kafka(zeek(ts=S, duration=0), S + 1)])
    assert right["clock"].level is Level.GOOD


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_survey, "_MOST_KEPT", 3)
    kept = Recent()
    for key in range(10):
        assert kept.swap(key) is None
    assert len(kept) == 3
    assert kept.swap(9)
    assert not kept.take(0)


def test_a_median_is_the_bound_below_which_half_lie() -> None:
    spread = Spread()
    for seconds in (0.5, 8.0, 9.0, 100.0):
        spread.add(seconds)
    assert (spread.median_s(), spread.most_s, spread.beyond(2)) == (10.0, 100.0, 3)


def test_the_command_shows_each_file_and_ends_by_the_worst(tmp_path: Path) -> None:
    sound, broken = tmp_path / "sound.json", tmp_path / "broken.json"
    sound.write_bytes(b"\n".join(bytes_of(one) for one in many()))
    broken.write_bytes(b"no flow\n")
    run = CliRunner()
    shown = run.invoke(app, ["doctor", str(sound), str(broken)])
    assert shown.exit_code == 6
    titles = [line for line in shown.stdout.splitlines() if not line.startswith(" ")]
    assert titles == [str(sound), str(broken)]
    assert "  broken   records" in shown.stdout
    assert "  good     home" in shown.stdout
    found = run.invoke(app, ["doctor", str(sound), "--json"])
    assert found.exit_code == 0
    whole = json.loads(found.stdout)
    assert whole["worst"] == "note"
    assert whole["files"][0]["figures"]["dialects"] == {"zeek": 20}
    assert {one["check"] for one in whole["files"][0]["findings"]} >= {"records", "home", "order"}


def test_options_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODEEP_SITE", "plant")
    monkeypatch.setenv("AUTODEEP_FLOW_DIALECT", "zeek")
    home, options = settings_of("", "", "", False)
    assert (home.site, options.dialect) == ("plant", "zeek")
    home, options = settings_of("", "office", "auto", True)
    assert (home.site, options.dialect, options.is_kafka) == ("office", "auto", True)


ODDITIES = {
    "iot-23/zeek-original/CTU-IoT-Malware-Capture-34-1.conn.log.labeled.gz": (
        "counters",
        "2,999 of 3,000 (over 99.9%)",
    ),
    "iot-23/csv/CTU-Honeypot-Capture-5-1-labeled.csv.gz": ("datagrams", "468 of 806"),
    "stratosphere-zeek/001-zeek-scenario-malicious/conn.log.gz": ("refused", "992 of 992"),
    "stratosphere-zeek/008-zeek-mixed/data/conn.log.labeled.gz": ("home", "147.32.0.0/16 3,000"),
    "flows/zeek/rita-day1/conn.01.log.gz": ("order", "59.9 min"),
    "flows/zeek/rita-day1/conn.00.log.gz": ("home", "1,763 of them with 64.225.56.201"),
    "lab/offline/nfdump-scan_udp.json": ("halves", "0 of 41"),
    "lab/rsyslog_default.jsonl": ("netflow", "83 netflow events"),
    "lab/pm_pmacctd.jsonl": ("refused", "as aggregated"),
    "lab/kcat_eve.jsonl": ("delay", "within 60 s"),
    "lab/gf_json.jsonl": ("halves", "118 of 142"),
}


@pytest.mark.data
@pytest.mark.parametrize("name", ODDITIES)
def test_the_oddities_of_real_files_are_named(name: str) -> None:
    check, says = ODDITIES[name]
    start = 12_000 if check == "counters" else 0
    survey = surveyed(data(name), some=slice(start, start + 3_000))
    shown = {one.check: one for one in findings(survey)}
    assert says in shown[check].found
    assert json.dumps(figures(survey))
