"""A challenger beside the champion: who judges what, what is compared, and that it is first to give way."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.codec.models import (
    Disagreement,
    ModelCommand,
    ModelState,
    ModelStatus,
    decode_status,
    encode_status,
)
from streams.codec.output.alerts import AlertOutput
from streams.core.alerts import Alert
from streams.core.events import Chunk, Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WindowLayout
from streams.errors import ModelRejected, Unavailable
from streams.model.comparison import LEAST_SCORED, Comparison, advice, findings, stability_index, total
from streams.model.detector import Detector
from streams.model.inference import Canary
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.describing import Intake
from streams.pipeline.detection import Ports
from streams.pipeline.reports import Observed, Watchers
from streams.rollout import shadow
from streams.rollout.admission import Admission
from streams.rollout.challenge import Challenge
from streams.rollout.follower import Follower, FollowerPorts
from streams.rollout.loading import ref_of
from streams.rollout.shadow import Allowance, Shadow, ShadowPorts
from tests.fakes import Always, patient
from tests.pipeline.test_pipeline import (
    SOURCE,
    TOPICS,
    PlainDecoder,
    Worker,
    World,
    chunks_of,
    feed,
    in_one_go,
    telemetry,
)
from tests.rollout.test_model_agent import FIRST, Gate, Log, carry_out, promote, ref
from tests.rollout.test_model_follower import Store, detector

LAYOUT = WindowLayout(KDD99)

CHAMPION, CHALLENGER = Detector.random(KDD99, seed=1), Detector.random(KDD99, seed=2, window=4, embedding=8)


def watched_by(world: World, watchers: Watchers) -> Worker:
    ports = Ports(Intake(TOPICS.telemetry, PlainDecoder()), world.store, world.publisher, patient, lambda: 5)  # type: ignore[arg-type]
    outputs = [AlertOutput(TOPICS, publish_classified=True)]
    rules = Rules(TOPICS, 10**9, outputs, publish_classified=True)
    return Worker(ports, rules, WindowCache(LAYOUT, 1 << 22, 8), Always(CHAMPION), watchers)


# Who judges


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.integers(1, 40),
    st.floats(0.1, 1.0),
    st.integers(0, 79),
    st.integers(0, 79),
)
@example([0, 1, 2, 3, 4, 5] * 10, 6, 0.5, 0, 60)
@example([5, 4, 3, 2, 1, 0] * 10, 7, 0.4, 15, 40)
def test_with_a_canary_each_event_has_the_verdict_that_its_judge_alone_gives(
    devices: list[int], size: int, share: float, begin: int, length: int
) -> None:
    """Bit for bit, whatever the chunking, and also where the canary begins or ends in the middle."""
    records = telemetry(devices)
    canary = Canary(CHALLENGER, share)
    alone = {
        role: in_one_go_by(judge, records) for role, judge in (("champion", CHAMPION), ("canary", CHALLENGER))
    }
    world, now = World(), list[bool]()
    worker = watched_by(world, Watchers(lambda: canary if now[-1] else None))
    for chunk in chunks_of(records, size):
        now.append(begin <= chunk.records[0].offset < begin + length)
        worker.process(chunk)
        for record in chunk.records:
            role = "canary" if now[-1] and canary.takes(f"d{devices[record.offset]}") else "champion"
            found = {alert.offset: alert for alert in world.verdicts().values()}[record.offset]
            expected = alone[role][record.offset]
            assert found == dataclasses.replace(expected, model_role=role)


def in_one_go_by(judge: Detector, records: Sequence[object]) -> dict[int, Alert]:
    world = World(detector=judge)
    feed(world.worker(), records, max(len(records), 1))  # type: ignore[arg-type]
    return {alert.offset: alert for alert in world.verdicts().values()}


def test_the_windows_do_not_depend_on_who_judges() -> None:
    records = telemetry([0, 1, 2, 3, 0, 1, 2, 3] * 5)
    world = World()
    feed(watched_by(world, Watchers(lambda: Canary(CHALLENGER, 0.5))), records, 7)
    assert world.store.values == in_one_go(records).store.values


def test_the_share_is_kept_and_a_larger_one_keeps_the_devices_of_a_smaller() -> None:
    devices = [f"device-{i}" for i in range(20_000)]
    chosen = [{d for d in devices if Canary(CHALLENGER, share).takes(d)} for share in (0.01, 0.05, 0.5, 1.0)]
    for found, share in zip(chosen, (0.01, 0.05, 0.5, 1.0), strict=True):
        assert len(found) / len(devices) == pytest.approx(share, abs=0.01)
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3] == set(devices)


# What is compared


class Watched:
    """A worker that a shadow watches, by clocks that stand still unless told."""

    def __init__(self, share: float = 1.0, challenger: Detector = CHALLENGER) -> None:
        self.now_s, self.cpu_s = 100.0, 0.0
        self.away = False
        self.disagreements: list[Disagreement] = []
        self.told: list[ModelStatus] = []
        self.challenge = Challenge()
        self.challenge.begin(challenger, 0.0)
        ports = ShadowPorts(self._disagree, self.told.append, lambda: self.now_s, lambda: self.cpu_s)
        self.shadow = Shadow("here", self.challenge, share, ports)
        self.now_s += 1.0  # some allowance to begin with
        self.observed: list[Observed] = []
        self.world = World()
        self.worker = watched_by(self.world, Watchers(watch=self.observed.append))

    def _disagree(self, told: Sequence[Disagreement]) -> None:
        if self.away:
            raise Unavailable("Kafka is away")
        self.disagreements += told

    def observe(self, records: Sequence[object], size: int = 50) -> list[Observed]:
        feed(self.worker, records, size)  # type: ignore[arg-type]
        return self.observed

    @property
    def comparison(self) -> Comparison:
        running = self.challenge.running
        assert running is not None
        return running.comparison


def test_the_challenger_is_compared_on_every_event_by_what_it_would_have_said_itself() -> None:
    records = telemetry([i % 6 for i in range(200)])
    watched = Watched()
    for observed in watched.observe(records):
        watched.shadow.watch(observed)
        watched.shadow.compare(observed)
    champion, challenger = (in_one_go_by(judge, records) for judge in (CHAMPION, CHALLENGER))
    pairs = [(champion[i].verdict, challenger[i].verdict) for i in range(200)]
    assert watched.comparison.confusion == Counter(pairs)
    assert (watched.comparison.seen, watched.comparison.scored) == (200, 200)
    differing = {i for i, (a, b) in enumerate(pairs) if a != b}
    assert differing
    told = {one.offset for one in watched.disagreements}
    assert told <= differing
    assert len(told) + watched.comparison.unpublished == len(differing)
    for one in watched.disagreements:
        assert (one.champion.verdict, one.challenger.verdict) == pairs[one.offset]
        assert one.alert_id == champion[one.offset].alert_id
        assert one.challenger.digest == CHALLENGER.identity.digest


def test_the_same_model_never_disagrees() -> None:
    watched = Watched(challenger=CHAMPION)
    for observed in watched.observe(telemetry([i % 6 for i in range(100)])):
        watched.shadow.watch(observed)
        watched.shadow.compare(observed)
    assert all(a == b for a, b in watched.comparison.confusion)
    assert watched.disagreements == []


def test_disagreements_beyond_those_of_a_second_and_while_kafka_is_away_are_counted_not_kept() -> None:
    watched = Watched()
    (observed,) = watched.observe(telemetry([i % 6 for i in range(400)]), 400)
    watched.shadow.watch(observed)
    watched.shadow.compare(observed)
    assert len(watched.disagreements) == shadow.DISAGREEMENTS_PER_S
    left = watched.comparison.unpublished
    assert left > 0
    watched.now_s += 1.0
    watched.away = True
    watched.shadow.compare(observed)
    assert len(watched.disagreements) == shadow.DISAGREEMENTS_PER_S
    assert watched.comparison.unpublished == 2 * left + shadow.DISAGREEMENTS_PER_S


def test_another_champion_begins_the_figures_anew() -> None:
    watched = Watched()
    (observed,) = watched.observe(telemetry([0, 1]))
    watched.shadow.watch(observed)
    watched.shadow.compare(observed)
    other = dataclasses.replace(observed.classified, detector=Detector.random(KDD99, seed=3))
    watched.shadow.watch(dataclasses.replace(observed, classified=other))
    assert (watched.comparison.seen, watched.comparison.scored) == (2, 0)
    assert watched.comparison.champion == other.detector.identity.digest


# Who gives way


def test_a_lagging_partition_a_used_up_share_and_a_full_hand_over_drop_the_challengers_work() -> None:
    watched = Watched(share=0.2)
    (observed,) = watched.observe(telemetry([0, 1, 2]))
    watched.shadow.watch(dataclasses.replace(observed, lag_records=shadow.LAG_RECORDS + 1))
    for _ in range(shadow.WAITING_TURNS + 1):
        watched.shadow.watch(observed)
    assert watched.comparison.dropped == {"lag": 3, "busy": 3}
    slow = iter([0.0, 5.0])  # begun, ended: five seconds of CPU
    object.__setattr__(watched.shadow._ports, "cpu_s", lambda: next(slow))
    watched.shadow.compare(observed)
    watched.shadow.watch(observed)
    assert watched.comparison.dropped["cpu"] == 3


def test_a_turn_is_as_far_behind_as_the_partition_that_is_furthest() -> None:
    watched, other = Watched(), Source(SOURCE.topic, SOURCE.topic_id, SOURCE.partition + 1)
    chunks = [Chunk(SOURCE, telemetry([0, 1]), 2), Chunk(other, telemetry([0, 1]), 100)]
    watched.worker.process(*chunks)
    assert [observed.lag_records for observed in watched.observed] == [98]


def test_the_allowance_is_the_share_over_time_and_saves_up_for_a_while_only() -> None:
    now = [0.0]
    allowance = Allowance(0.2, lambda: now[0])
    assert not allowance.is_left()
    spent_s = 0.0
    for _ in range(1000):
        now[0] += 0.1
        if allowance.is_left():
            allowance.spend(0.05)
            spent_s += 0.05
    assert spent_s == pytest.approx(0.2 * 100.0, abs=0.1)
    now[0] += 10**6  # a long rest
    runs = 0
    while allowance.is_left():
        allowance.spend(0.05)
        runs += 1
    assert runs * 0.05 == pytest.approx(0.2 * shadow.SAVED_CPU_S, abs=0.051)


def test_without_a_challenger_nothing_is_done() -> None:
    watched = Watched()
    (observed,) = watched.observe(telemetry([0, 1]))
    watched.challenge.end()
    watched.shadow.watch(observed)
    watched.shadow.compare(observed)
    watched.shadow.tell()
    assert (watched.told, watched.disagreements) == ([], [])


# What is told


def compared(events: int, pairs: dict[tuple[str, str], int]) -> Comparison:
    found = Comparison("ab", seen=events, scored=sum(pairs.values()), confusion=Counter(pairs))
    found.champion_novelty[0] = found.challenger_novelty[0] = found.scored
    return found


def test_figures_of_workers_add_up_by_way_of_the_topic() -> None:
    one = compared(10, {("normal", "normal"): 7, ("dos", "novel"): 2})
    other = compared(5, {("normal", "normal"): 4, ("normal", "probe"): 1})
    other.dropped["lag"] = 3
    told = []
    for found in (one, other):
        status = ModelStatus(
            "challenge", "w", "", 0, "kdd99", "3", "cd", "compared", "", 0.0, 1, found.figures()
        )
        told.append(decode_status(encode_status(status)).figures)
    whole = total(told)
    assert (whole.seen, whole.scored, whole.dropped) == (15, 14, {"lag": 3})
    assert whole.confusion == {("normal", "normal"): 11, ("dos", "novel"): 2, ("normal", "probe"): 1}


ALIKE = {("normal", "normal"): 9 * LEAST_SCORED, ("dos", "dos"): LEAST_SCORED}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({}, "not yet"),
        ({("normal", "normal"): LEAST_SCORED - 1}, "not yet"),
        (ALIKE, "yes"),
        ({**ALIKE, ("normal", "dos"): 9 * LEAST_SCORED}, "no: agreement"),
        ({**ALIKE, ("dos", "normal"): 2 * LEAST_SCORED}, "no: agreement"),
        ({("normal", "normal"): 99 * LEAST_SCORED, ("normal", "probe"): LEAST_SCORED}, "no: flagged"),
    ],
)
def test_the_advice_follows_from_the_values_asked_for(pairs: dict[tuple[str, str], int], said: str) -> None:
    found = advice(findings(compared(sum(pairs.values()), pairs)))
    assert found.startswith(said), found


def test_the_stability_index_is_nought_for_the_same_mix_and_grows_with_the_difference() -> None:
    assert stability_index([10, 20, 70], [1, 2, 7]) == pytest.approx(0.0)
    assert stability_index([50, 50], [60, 40]) == pytest.approx(0.1 * np.log(1.2) + 0.1 * np.log(1.25))
    assert stability_index([50, 50], [90, 10]) > 0.25
    assert stability_index([], []) == 0.0


# Who decides, who follows


def challenge(action: str, version: str = "3", command_id: str = "s", share: float = 0.0) -> ModelCommand:
    return dataclasses.replace(promote(version, command_id), action=action, canary_share=share)


DISMISS = ModelCommand("x", "dismiss", "", 5)


def test_a_challenger_runs_beside_the_champion_until_it_is_dismissed() -> None:
    log = Log()
    statuses = carry_out(
        log, Gate(), challenge("shadow"), challenge("canary", command_id="k", share=0.1), DISMISS
    )
    assert [status.outcome for status in statuses] == ["shadowing", "canarying", "dismissed"]
    in_shadow, canary, after = log.states
    assert (in_shadow.champion, in_shadow.challenger, in_shadow.challenger_role) == (
        FIRST,
        ref("3"),
        "shadow",
    )
    assert (canary.challenger_role, canary.canary_share) == ("canary", 0.1)
    assert (after.challenger, after.challenger_role, after.canary_share) == (None, "", 0.0)
    assert [state.revision for state in log.states] == [1, 2, 3]


def test_a_promote_ends_its_own_challenge_and_leaves_that_of_another() -> None:
    log = Log()
    carry_out(log, Gate(), challenge("shadow"), promote("2", "p"), promote("3", "q"))
    assert [state.challenger for state in log.states] == [ref("3"), ref("3"), None]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (DISMISS, "no challenger"),
        (challenge("shadow", version="1"), "cannot challenge itself"),
        (challenge("shadow", version=""), "names a model"),
        (challenge("canary"), "share"),
        (challenge("canary", share=1.5), "share"),
        (challenge("shadow", version="bad"), "latency"),
    ],
)
def test_a_challenge_that_cannot_be_is_refused_and_changes_nothing(command: ModelCommand, says: str) -> None:
    log = Log()
    gate = Gate({"bad": "latency: measured 3.1 x, allowed 1.2 x"})
    *_, status = carry_out(log, gate, dataclasses.replace(promote("1", "p"), digest=FIRST.digest), command)
    assert status.outcome == "refused"
    assert says in status.detail
    assert len(log.states) == 1


class Followed:
    def __init__(self) -> None:
        self.store, self.told = Store(), list[ModelStatus]()
        self.admission, self.challenge = Admission(detector("1")), Challenge()
        ports = FollowerPorts(self.store.load, self.told.append, lambda: 9)
        self.follower = Follower("here", self.admission, ports, challenge=self.challenge)

    def bring(self, state: ModelState) -> bool:
        return self.follower.apply_state(state) and self.follower.apply_challenger(state)


def challenged(revision: int, version: str | None, share: float = 0.0) -> ModelState:
    return ModelState(
        revision,
        ref_of(detector("1")),
        3,
        challenger=None if version is None else ref_of(detector(version)),
        challenger_role="canary" if share else "shadow",
        canary_share=share,
    )


def test_the_follower_loads_the_challenger_once_and_lets_it_go() -> None:
    parts = Followed()
    assert parts.bring(challenged(1, "2"))
    assert parts.challenge.canary() is None
    assert parts.bring(challenged(2, "2", share=0.5))
    canary = parts.challenge.canary()
    assert canary is not None
    assert (canary.share, ref_of(canary.detector).version) == (0.5, "2")
    assert parts.store.loaded == ["2"]
    assert parts.bring(challenged(3, None))
    assert parts.challenge.running is None
    assert parts.admission.ref.version == "1"


def test_a_challenger_that_cannot_be_loaded_is_told_and_touches_nothing_else() -> None:
    parts = Followed()
    parts.store.broken["2"] = ModelRejected("m/2: its weights are torn")
    assert not parts.bring(challenged(1, "2"))
    assert (parts.admission.ref.version, parts.follower.revision) == ("1", 1)
    assert [status.outcome for status in parts.told] == ["serving", "load_failed"]
    assert "the challenger: m/2" in (parts.follower.problem or "")
    parts.store.broken.clear()
    assert parts.follower.apply_challenger(challenged(1, "2"))
    assert parts.follower.problem is None
