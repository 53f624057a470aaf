"""The demonstration's account and view: pure, so tested without Kafka."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console, RenderableType

from streams.core.alerts import Alert
from streams.core.incidents import Activity, Incident
from streams.core.kdd99 import KDD99
from streams.core.severity import Severity
from streams.demo.episodes import Episode
from streams.demo.ledger import Ledger
from streams.demo.simulator import Simulation
from streams.demo.summary import Run, Summary, summarise
from streams.demo.summary_tables import WIDE, notes, tables
from streams.demo.view import LATEST, Streak, View, alerted, buried, line, render, ticked

START_US = 1_700_000_000_000_000
FLOOD = Episode("SYN flood", "neptune", "dos", "cam-1", 2_000_000, 4_000_000)
GUESSING = Episode("password guessing", "guess_passwd", "r2l", "lock-1", 3_000_000, 6_000_000)


def simulation() -> Simulation:
    #          second  0      1      2      3      3.5     5      6
    #          device  cam-1  hub-1  cam-1  cam-1  lock-1  lock-1 hub-1
    #          really  normal normal dos    dos    r2l     r2l    normal
    devices = ["cam-1", "hub-1", "cam-1", "cam-1", "lock-1", "lock-1", "hub-1"]
    truth = ["normal", "normal", "dos", "dos", "r2l", "r2l", "normal"]
    rows = np.zeros(7, KDD99.row)
    rows["codes"][:, 1] = KDD99.symbolic[1].code("http")
    times_us = (np.array([0, 1, 2, 3, 3.5, 5, 6]) * 1e6).astype(np.int64)
    episode = np.array([-1, -1, 0, 0, 1, 1, -1])
    return Simulation((FLOOD, GUESSING), devices, times_us, rows, truth, episode)


def said(place: int, verdict: str, after_us: int = 100_000) -> Alert:
    """The verdict on the event of that place."""
    what = simulation()
    at_us = START_US + int(what.event_time_us[place])
    return Alert(
        alert_id=str(place),
        device_id=what.device_id[place],
        event_time_us=at_us,
        detected_at_us=at_us + after_us,
        verdict=verdict,
        closest="normal" if verdict == "novel" else verdict,
        scores={"normal": 0.25, "dos": 0.75},
        novelty=0.5,
        window_fill=3,
        window_width=16,
        topic="ids.telemetry",
        topic_id="",
        partition=0,
        offset=place,
        model_name="kdd99",
        model_version="1",
        model_digest="ab" * 32,
    )


def summary_of(verdicts: dict[int, str], sent: int = 7, alerts: dict[int, str] | None = None) -> Summary:
    ledger = Ledger(simulation(), START_US)
    for place, verdict in verdicts.items():
        ledger.note_verdict(said(place, verdict), int(simulation().event_time_us[place]) + 150_000)
    told = {p: v for p, v in verdicts.items() if v != "normal"} if alerts is None else alerts
    for place, verdict in told.items():
        ledger.note_alert(said(place, verdict))
    return summarise(Run(7.0, 1, sent, 0), ledger)


ALL = {0: "normal", 1: "probe", 2: "dos", 3: "normal", 4: "probe", 5: "novel"}


def test_hits_misses_false_alarms_and_lost_events_are_counted_by_class() -> None:
    lines = {each.truth: each for each in summary_of(ALL).classes}
    assert (lines["normal"].simulated, lines["normal"].flagged, lines["normal"].lost) == (3, 1, 1)
    assert (lines["dos"].flagged, lines["dos"].exact, lines["dos"].missed) == (1, 1, 1)
    assert (lines["r2l"].flagged, lines["r2l"].exact, lines["r2l"].missed) == (2, 0, 0)
    assert lines["r2l"].verdicts == {"probe": 1, "novel": 1}
    assert lines["u2r"].simulated == 0


def test_every_event_is_in_exactly_one_column_of_its_class() -> None:
    for each in summary_of(ALL).classes:
        unflagged = each.exact if each.truth == "normal" else each.missed
        assert each.flagged + unflagged + each.lost == each.simulated


def test_the_whole_adds_up() -> None:
    summary = summary_of(ALL)
    assert (summary.events, summary.classified, summary.lost) == (7, 6, 1)
    assert (summary.alerts, summary.false_alarms, summary.alerts_differing) == (4, 1, 0)
    assert summary.false_alarms_by_service == {"http": 1}
    assert summary.delay_ms["p50"] == 150.0  # as said() has it read


def test_false_alarms_on_a_device_under_attack_are_told_apart() -> None:
    what = simulation()
    what.event_time_us[0] = 2_500_000  # cam-1, ordinary, in the middle of the flood on it
    ledger = Ledger(what, START_US)
    for place, device in ((0, "cam-1"), (1, "hub-1")):
        at_us = START_US + int(what.event_time_us[place])
        ledger.note_verdict(replace(said(place, "dos"), device_id=device, event_time_us=at_us), 0)
    summary = summarise(Run(7.0, 1, 7, 0), ledger)
    assert (summary.false_alarms, summary.false_alarms_under_attack) == (2, 1)


def test_episodes_say_when_the_first_alert_came_or_that_none_did() -> None:
    flood, guessing = summary_of({2: "normal", 3: "dos", 4: "normal", 5: "normal"}).episodes
    assert (flood.events, flood.flagged, flood.exact) == (2, 1, 1)
    assert flood.verdicts == {"normal": 1, "dos": 1}
    assert flood.first_alert_s == 1.1  # the event at second 3, 0.1 s later, of a flood from second 2 on
    assert (guessing.flagged, guessing.first_alert_s) == (0, None)


def test_each_model_stands_with_the_alerts_that_it_raised() -> None:
    ledger = Ledger(simulation(), START_US)
    for place, verdict, version in ((0, "normal", "1"), (2, "dos", "1"), (3, "dos", "2"), (4, "novel", "2")):
        alert = replace(said(place, verdict), model_version=version)
        ledger.note_verdict(alert, 0)
        if verdict != "normal":
            ledger.note_alert(alert)
    summary = summarise(Run(7.0, 1, 5, 0, "kdd99/2 promoted"), ledger)
    first, second = summary.models
    assert (first.model, first.events, first.alerts, first.last_s) == ("kdd99/1", 2, {"dos": 1}, 2.1)
    assert (second.model, second.events, second.alerts) == ("kdd99/2", 2, {"dos": 1, "novel": 1})
    assert second.first_s == 3.1
    text = printed(tables(summary))
    assert "Which model raised which alerts" in text
    assert "kdd99/2 promoted." in text


def test_what_was_not_sent_yet_is_no_loss() -> None:
    summary = summary_of({0: "normal", 1: "normal"}, sent=2)
    assert (summary.events, summary.lost) == (2, 0)
    assert [each.events for each in summary.episodes] == [0, 0]


def test_events_that_cannot_be_told_apart_are_refused() -> None:
    what = simulation()
    what.event_time_us[3] = what.event_time_us[2]
    with pytest.raises(ValueError, match="told apart"):
        Ledger(what, START_US)


def test_repeats_count_once() -> None:
    ledger = Ledger(simulation(), START_US)
    for _ in range(2):
        ledger.note_verdict(said(2, "dos"), 0)
    assert ledger.note_alert(said(2, "dos"))
    assert not ledger.note_alert(said(2, "dos"))
    assert (ledger.classified, ledger.repeats) == (1, 2)


@pytest.mark.parametrize(
    ("alerts", "differing"), [({2: "dos"}, 0), ({}, 1), ({2: "probe"}, 1), ({2: "dos", 0: "dos"}, 1)]
)
def test_an_alert_topic_that_disagrees_with_the_verdicts_shows(
    alerts: dict[int, str], differing: int
) -> None:
    assert summary_of({0: "normal", 2: "dos"}, alerts=alerts).alerts_differing == differing


def test_an_event_that_nobody_simulated_shows() -> None:
    ledger = Ledger(simulation(), START_US)
    ledger.note_verdict(replace(said(2, "dos"), device_id="somebody else"), 0)
    assert summarise(Run(7.0, 1, 7, 0), ledger).alerts_differing == 1


def test_the_tables_hide_neither_misses_nor_false_alarms_nor_losses() -> None:
    text = printed(tables(summary_of(ALL)))
    assert "lost: 1 of 7 events; 6 classified" in text
    assert "1 false alarms on normal events, 0 of them" in text
    assert "by service: http 1" in text
    assert "never" in printed(tables(summary_of({2: "normal", 3: "normal"})))
    row = next(each for each in text.splitlines() if "dos" in each)
    assert [cell.strip() for cell in row.split("│")][1:8] == [
        "dos",
        "2",
        "1 (50.0%)",
        "1 (50.0%)",
        "1",
        "",
        "0",
    ]


def test_a_fault_of_the_path_is_called_one() -> None:
    assert any("this is a fault" in each for each in notes(summary_of(ALL, alerts={})))


def test_the_summary_is_json() -> None:
    assert json.loads(json.dumps(dataclasses.asdict(summary_of(ALL))))["lost"] == 1


@pytest.mark.parametrize("width", [80, 119, 120])
def test_the_tables_show_all_figures_at_any_width(width: int) -> None:
    long = replace(FLOOD, name="telnet password guessing", device_id="thermostat-02")
    ledger = Ledger(replace(simulation(), episodes=(long, GUESSING)), START_US)
    for place, verdict in ALL.items():
        ledger.note_verdict(said(place, verdict), 0)
    text = printed(tables(summarise(Run(7.0, 1, 7, 0), ledger), width), width)
    assert "…" not in text
    episode = next(each for each in text.splitlines() if "telnet password guessing" in each)
    words = episode.replace("│", " ").replace("neptune", "").split()
    assert words == ["telnet", "password", "guessing", "dos", "thermostat-02"] + (
        ["2.0", "s", "2", "1", "1", "0.1", "s"] if width >= WIDE else ["2", "1", "1", "0.1", "s"]
    )
    assert "probe 1, novel 1" in text  # what r2l was called


def printed(what: RenderableType, width: int = 130) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(what)
        return console.export_text()


VIEW = View(45.0, 40, (FLOOD, GUESSING), START_US)


def test_lag_and_rates_follow_from_what_was_sent_and_classified() -> None:
    # second       0    1    2    3    4         the rate is that of the last 3 seconds
    # sent         0  100  200  500  800         -> (800 - 200) / 2
    view = VIEW
    for at_s, sent, classified in ((1, 100, 90), (2, 200, 180), (3, 500, 400), (4, 800, 700)):
        view = ticked(view, at_s, sent, classified)
    assert view.lag_events == 100
    assert view.rates == (300.0, 260.0)


def test_a_view_without_time_has_no_rate() -> None:
    assert VIEW.rates == (0.0, 0.0)
    assert ticked(VIEW, 0.0, 5, 0).rates == (0.0, 0.0)


@pytest.mark.parametrize(
    ("at_s", "under_way"),
    [(1.9, []), (2.0, [FLOOD]), (3.5, [FLOOD, GUESSING]), (4.0, [GUESSING]), (6.0, [])],
)
def test_what_is_under_way_is_half_open(at_s: float, under_way: list[Episode]) -> None:
    assert list(ticked(VIEW, at_s, 0, 0).under_way) == under_way


def test_alerts_add_up_by_class_and_device() -> None:
    view = VIEW
    for _ in range(3):
        view = alerted(view, [said(place, "dos") for place in (2, 3)] + [said(5, "novel")] * 3)
    assert view.alerts == {"dos": 6, "novel": 9}
    assert [(each.alert.verdict, each.times) for each in view.latest] == [("dos", 6), ("novel", 9)]
    assert view.alerted == {"cam-1", "lock-1"}
    assert alerted(view, []) is view


def test_a_flood_hides_no_other_alert_and_the_line_silent_longest_makes_room() -> None:
    view = alerted(VIEW, [replace(said(4, "u2r"), device_id=f"hub-{n}") for n in range(LATEST - 1)])
    view = alerted(view, [said(2, "dos")] * 500)  # second 2: before all others
    assert len(view.latest) == LATEST
    assert view.latest[-1].times == 500
    newest = replace(said(6, "probe"), device_id="hub-9")
    view = alerted(view, [newest])
    assert len(view.latest) == LATEST
    assert view.latest[-1] == Streak(newest)
    assert all(each.alert.verdict != "dos" for each in view.latest)


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (40, 120), (17, 80)])
def test_the_view_fits_its_terminal_without_a_wrapped_line(rows: int, columns: int) -> None:
    now = tuple(
        Episode("telnet password guessing", "guess_passwd", "probe", "thermostat-02", 0, 3_600_000_000)
        for _ in range(5)
    )
    view = ticked(View(3600.0, 40, now, START_US), 1800.0, 1_000_000, 900_000)
    view = ticked(view, 1801.0, 1_000_900, 999_999)
    long = replace(said(5, "probe"), closest="normal", window_fill=16)
    view = alerted(view, [replace(long, device_id=f"thermostat-{n:02}") for n in range(LATEST)] * 999)
    lines = printed(render(view, rows), columns).splitlines()
    assert len(lines) < rows
    assert len(printed(render(VIEW, rows), columns).splitlines()) == len(lines)
    text = "\n".join(lines)
    assert "…" not in text
    for shown in ("1801 of 3600", "1,000,900", "40, 10 alerted", "0.25", "999"):
        assert shown in text, shown


def test_the_live_view_shows_rate_lag_devices_alerts_and_what_is_simulated() -> None:
    view = alerted(ticked(ticked(VIEW, 2.0, 100, 50), 3.2, 1_500, 1_450), [said(2, "dos"), said(5, "novel")])
    text = printed(render(buried(view, 3)))
    for shown in ("1,167", "1,500", "40, 2 alerted", "SYN flood", "on cam-1", "lock-1", "3/16", "novel"):
        assert shown in text, shown


def test_the_view_keeps_its_height_and_survives_any_class() -> None:
    few = printed(render(alerted(VIEW, [said(2, "dos")])))
    many = printed(render(alerted(VIEW, [said(2, "dos")] * 30)))
    assert len(few.splitlines()) == len(many.splitlines())
    assert "martian" in printed(render(alerted(VIEW, [said(2, "martian")])))


def test_a_device_id_with_markup_is_shown_as_it_is() -> None:
    odd = replace(said(2, "dos"), device_id="[red]cam[/red]")
    assert "[red]cam[/red]" in printed(render(alerted(VIEW, [odd])))


def test_a_plain_line_says_the_same() -> None:
    view = alerted(ticked(VIEW, 3.5, 900, 890), [said(2, "dos")])
    text = line(view)
    assert "900 events" in text
    assert "lag 10" in text
    assert "dos 1" in text
    assert "SYN flood on cam-1, password guessing on lock-1" in text
    assert "ordinary traffic" in line(VIEW)


def told(incident_id: str, verdict: str, alerts: int, revision: int = 1) -> Incident:
    """A revision of an incident on the demonstration's device."""
    return Incident(
        incident_id=incident_id, revision=revision, activity=Activity.OPEN, device_id="cam-1",
        verdict=verdict, severity=Severity.HIGH, alerts=alerts, first_event_us=START_US,
        last_event_us=START_US,
        changed_at_us=0, expires_at_us=0, worst_score=1.0, worst_novelty=0.0, first_alert_id="",
        worst_alert_id="", last_alert_id="", models=(), topic="", topic_id="", partition=0, offset=0,
    )  # fmt: skip


def test_attacks_are_told_as_incidents_the_one_with_the_most_alerts_first() -> None:
    ledger = Ledger(simulation(), START_US)
    found = {1: ("probe", "false"), 2: ("dos", "a"), 3: ("dos", "a"), 4: ("r2l", "b"), 5: ("novel", None)}
    for place, (verdict, incident_id) in found.items():
        ledger.note_alert(replace(said(place, verdict), incident_id=incident_id))
    records = [told("false", "probe", 1), told("a", "dos", 1), told("a", "dos", 2, revision=2)]
    for incident in (*records, told("b", "r2l", 1), records[0]):
        ledger.note_incident(incident)
    summary = summarise(Run(7.0, 1, 7, 0), ledger)
    assert (summary.incidents, summary.incident_records, summary.incidents_differing) == (3, 4, 0)
    assert (summary.alerts_alone, summary.false_incidents) == (1, 1)
    flood, guessing = summary.episodes
    assert [(one.verdict, one.alerts) for one in flood.incidents] == [("dos", 2)]
    assert [(one.verdict, one.alerts) for one in guessing.incidents] == [("r2l", 1)]
    text = " ".join(notes(summary))
    assert "5 alerts are told as 3 incidents in 4 records, 1 alone" in text
    assert "at most 1 an attack, the right class first in 2 of 2; 1 of false alarms alone" in text


@pytest.mark.parametrize("records", [[], [told("a", "dos", 3)], [told("a", "dos", 2), told("c", "dos", 1)]])
def test_incidents_without_a_record_or_with_too_many_alerts_are_a_fault(records: list[Incident]) -> None:
    ledger = Ledger(simulation(), START_US)
    for place in (2, 3):
        ledger.note_alert(replace(said(place, "dos"), incident_id="a"))
    for incident in records:
        ledger.note_incident(incident)
    summary = summarise(Run(7.0, 1, 7, 0), ledger)
    assert summary.incidents_differing == 1
    assert any("1 incidents do not agree" in line for line in notes(summary))
