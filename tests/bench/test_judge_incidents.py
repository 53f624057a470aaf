"""The law of incidents: a sound case passes, and what is broken is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from bench.faults.case import Case, Law
from bench.faults.flow import Place
from bench.faults.judge import judge
from bench.faults.judge_incidents import _told, expected
from bench.faults.offline import Event
from streams.core.events import Source
from streams.core.incident_rules import IncidentRules
from tests.bench.test_faults_judge import NOW, T, alerted, heard, sound


def with_incidents() -> Case:
    """The sound case and eight events more, half of them alerts, with their incidents."""
    case, rules = sound(), IncidentRules()
    more = [
        Event(Place(1, 0, 5 + i), "d", 200 + i, i, T * (5 + i), tuple(range(2, 7 + i)), 200 + i)
        for i in range(8)
    ]
    case = replace(case, events=[*case.events, *more])
    said = [heard(case, number, fill=min(case.events[number].full, 16)) for number in range(2, 14)]
    attacks = [replace(one, alert=replace(one.alert, verdict="dos")) for one in said if one.alert.offset % 2]
    alerts = {one.alert.offset: one.alert for one in attacks}
    source = Source("ids.telemetry", UUID(NOW), 0)
    records = [(offset, T * offset // 1000) for offset in range(13)]
    wanted = expected(source, records, _told(case, list(alerts.values()), 0), rules)
    linked = [
        alerted(replace(one, alert=replace(one.alert, incident_id=wanted.links[one.alert.offset])))
        for one in attacks
    ]
    return replace(case, alerts=linked, incidents=wanted.incidents, incident_rules=rules)


def wrong(case: Case) -> list[str]:
    return [one.line for one in judge(case).broken if one.law is Law.WRONG_INCIDENT]


def test_incidents_of_the_plain_rule_break_no_law_and_repeats_are_no_fault() -> None:
    case = with_incidents()
    assert len(case.incidents) == 3  # of 6 alerts, at counts 1, 2 and 4
    assert wrong(case) == []
    assert wrong(replace(case, incidents=[*case.incidents, *case.incidents[:2]])) == []


@pytest.mark.parametrize(
    "broken",
    [
        lambda case: replace(case, incidents=case.incidents[:-1]),
        lambda case: replace(case, incidents=case.incidents[1:]),
        lambda case: replace(case, incidents=[case.incidents[0], *case.incidents[2:]]),
        lambda case: replace(case, incidents=[*case.incidents[:2], replace(case.incidents[2], alerts=5)]),
        lambda case: replace(case, incidents=[*case.incidents, replace(case.incidents[2], alerts=5)]),
        lambda case: replace(case, incidents=[*case.incidents, replace(case.incidents[2], revision=4)]),
        lambda case: replace(case, alerts=[*case.alerts[:-1], unlinked(case)]),
        lambda case: replace(case, incidents=[]),
    ],
)
def test_a_missing_another_or_a_surplus_revision_and_a_wrong_link_are_found(
    broken: Callable[[Case], Case],
) -> None:
    assert wrong(broken(with_incidents()))


def unlinked(case: Case) -> object:
    last = case.alerts[-1]
    return replace(last, alert=replace(last.alert, incident_id=None))


def test_after_a_loss_incidents_may_begin_anew_but_none_is_named_of_which_nothing_is_told() -> None:
    case = replace(with_incidents(), losses=((0, 1),))
    assert wrong(replace(case, incidents=case.incidents[:1])) == []
    assert wrong(replace(case, incidents=[]))


def test_of_a_topic_that_was_deleted_before_an_event_was_done_its_incident_may_be_missing() -> None:
    """A worker that died between publishing an alert and its incident has no other to do it again."""
    case, name = with_incidents(), "9e00a184-07e0-5a67-82c7-8b789c8e6842"
    last = case.alerts[-1]
    former = replace(last.alert, alert_id="a", topic_id=case.lives[0], offset=7, incident_id=name)
    case = replace(case, losses=((0, 1),), alerts=[*case.alerts, replace(last, alert=former)])
    assert wrong(replace(case, committed={0: {0: 8}})) == [f"a: nothing is told of {name}"]
    assert wrong(replace(case, committed={0: {0: 7}})) == []
