"""What a challenge must not do: end the scorer, call a switch off, outlive its dismissal, hide old alerts."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import fastavro
import pytest

from streams.adapters.kafka.fleet import Statuses
from streams.adapters.kafka.model_topics import _challenger_since
from streams.codec.avro import framing, schemas
from streams.codec.models import ModelState, ModelStatus, Outcome, encode_status
from streams.codec.output.alerts import decode_alert, encode_alert
from streams.errors import ModelRejected
from streams.model.comparison import findings, total
from streams.model.detector import Detector, Identity
from streams.rollout.admission import Admission
from streams.rollout.challenge import Challenge
from streams.rollout.follower import Follower, FollowerPorts
from streams.rollout.loading import ref_of
from tests.codec.test_codec_alerts import ALERT
from tests.pipeline.test_pipeline import telemetry
from tests.rollout.test_model_challenge import CHAMPION, Watched
from tests.rollout.test_model_follower import Store, detector


class Parts:
    """A follower without its thread."""

    def __init__(self) -> None:
        self.store = Store()
        self.told: list[ModelStatus] = []
        self.admission = Admission(detector("1"))
        self.challenge = Challenge()
        ports = FollowerPorts(self.store.load, self.told.append, lambda: 9)
        self.follower = Follower("here", self.admission, ports, challenge=self.challenge)

    def apply_state(self, state: ModelState) -> bool:
        """As the follower's thread does."""
        self.follower.offer(state)
        return self.follower.apply_state(state) and self.follower.apply_challenger(state)


def agreed(revision: int, champion: str, challenger: str | None, share: float = 0.0) -> ModelState:
    return ModelState(
        revision,
        ref_of(detector(champion)),
        3,
        challenger=None if challenger is None else ref_of(detector(challenger)),
        challenger_role="" if challenger is None else "canary" if share else "shadow",
        canary_share=share,
    )


def test_a_dismissed_canary_ends_even_where_the_agreed_champion_cannot_be_loaded() -> None:
    parts = Parts()
    assert parts.apply_state(agreed(1, "1", "2", 0.5))
    parts.store.broken = {"3": ModelRejected("cut short")}
    assert not parts.apply_state(agreed(2, "3", "2", 0.5))
    assert parts.challenge.canary() is not None
    assert not parts.apply_state(agreed(3, "3", None))
    assert parts.challenge.canary() is None


def test_a_challenger_that_cannot_be_loaded_calls_no_switch_off() -> None:
    parts = Parts()
    parts.store.broken = {"2": ModelRejected("cut short")}
    parts.apply_state(dataclasses.replace(agreed(4, "1", "2"), preparing=ref_of(detector("3"))))
    told = Statuses("m", 4)
    for status in parts.told:
        told.take(encode_status(status))
    assert (told.prepared, told.failed) == ({"here"}, {})


def test_an_alert_of_before_there_were_roles_is_read_in_each_form() -> None:
    before = schemas.history("Alert")[0]
    fields = dataclasses.asdict(ALERT)
    role = fields.pop("model_role")
    assert fields.pop("explanation") is None
    assert fields.pop("context") is None
    assert fields.pop("incident_id") is None
    assert (fields.pop("reasons"), fields.pop("profile_revision")) == ((), ALERT.profile_revision)
    tail = io.BytesIO()
    fastavro.schemaless_writer(tail, {"type": "string"}, role)
    tail.write(bytes(5))  # explanation, context, incident, profile: each union's first branch; no reasons
    datum = encode_alert(ALERT)[10 : -len(tail.getvalue())]
    assert decode_alert(framing.single_object_header(before.fingerprint) + datum) == ALERT
    assert decode_alert(json.dumps(fields).encode()) == ALERT
    assert decode_alert(framing.confluent_header(9) + datum) == ALERT


class Broken(Detector):
    def encode(self, rows: Any) -> Any:
        raise RuntimeError("no memory for this tensor")


def test_a_challenger_that_cannot_be_run_is_counted_speaks_against_it_and_ends_no_thread() -> None:
    broken = Broken(Identity("broken", "1", "dd"), CHAMPION.parameters, CHAMPION.network)
    watched = Watched(challenger=broken)
    (observed,) = watched.observe(telemetry([0, 1, 2]))
    watched.shadow.watch(observed)
    watched.shadow.compare(observed)
    assert (watched.comparison.seen, watched.comparison.failed, watched.comparison.scored) == (3, 3, 0)
    told = total([watched.comparison.figures()])
    assert [line.holds for line in findings(told) if line.what == "events it could not be run on"] == [False]


def test_the_figures_are_told_less_often_as_they_age_and_not_without_news() -> None:
    """Three days with a turn a minute: at 5 s it would be 51,840 statuses, all read by every new agent."""
    watched = Watched()
    (observed,) = watched.observe(telemetry([0, 1, 2]))
    for _ in range(3 * 24 * 60):
        watched.now_s += 60.0
        watched.shadow.watch(observed)
        if watched.now_s >= watched.shadow.due_s:
            watched.shadow.tell()
    assert 800 < len(watched.told) < 1100
    told = len(watched.told)
    watched.shadow.tell()
    watched.shadow.tell()
    assert len(watched.told) <= told + 1


def decided(revision: int, outcome: Outcome, version: str) -> ModelStatus:
    ref = ref_of(detector(version))
    return ModelStatus("decision", "a", "c", revision, ref.name, ref.version, ref.digest, outcome, "", 0.0, 1)


def another_familys(outcome: Outcome) -> ModelStatus:
    return dataclasses.replace(decided(7, outcome, "2"), name="another", digest="ab")


@pytest.mark.parametrize(
    ("decisions", "since"),
    [
        ([decided(1, "shadowing", "2")], 1),
        ([decided(1, "shadowing", "2"), decided(2, "canarying", "2")], 1),  # its figures go on
        ([decided(1, "shadowing", "2"), decided(2, "dismissed", "2")], None),
        ([decided(1, "shadowing", "2"), decided(2, "dismissed", "2"), decided(3, "shadowing", "2")], 3),
        ([decided(1, "shadowing", "2"), decided(2, "canarying", "3"), decided(3, "shadowing", "2")], 3),
        ([decided(1, "shadowing", "2"), decided(2, "promoted", "2"), decided(3, "rolled_back", "1")], None),
        ([decided(1, "shadowing", "2"), decided(2, "promoted", "4")], 1),
        ([decided(1, "shadowing", "2"), decided(1, "refused", "2")], 1),
        ([decided(1, "shadowing", "2"), another_familys("dismissed"), another_familys("canarying")], 1),
    ],
)
def test_figures_count_from_where_the_model_became_challenger(
    decisions: list[ModelStatus], since: int | None
) -> None:
    found: int | None = None
    for decision in decisions:
        found = _challenger_since(found, decision, ref_of(detector("2")))
    assert found == since
