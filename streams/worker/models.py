"""What one worker has to do with models, on real adapters: the follower in its thread, and the agent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from streams.adapters.kafka.client import WORKER
from streams.adapters.kafka.fleet import KafkaFleet
from streams.adapters.kafka.model_topics import (
    DecisionLog,
    States,
    missing_model_topics,
    newest_state,
    newest_states,
    status_message,
)
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.store.models import ModelStore
from streams.codec.models import Disagreement, ModelState, ModelStatus, encode_disagreement
from streams.core.events import Message
from streams.core.patience import BackOff, Retry
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.errors import SettingsError
from streams.model.gate import Limits
from streams.rollout.admission import Admission, Load
from streams.rollout.agent import ModelAgent
from streams.rollout.challenge import Challenge
from streams.rollout.examiner import Examiner
from streams.rollout.follower import Follower, FollowerPorts
from streams.rollout.loading import load
from streams.rollout.shadow import Shadow, ShadowPorts
from streams.rollout.switching import ExactSwitch
from streams.settings import Settings
from streams.worker.path import Said
from streams.worker.process import start_thread

log: Final = logging.getLogger("autodeep.models")

_JOIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class WorkerModels:
    """Of one family."""

    follower: Follower
    agent: ModelAgent
    since: int
    """The revision of what was agreed on before there were families: older ones are not followed."""


@dataclass(frozen=True, slots=True)
class Family:
    """Whose model judges a topic of this worker."""

    topic: str
    admission: Admission
    challenge: Challenge
    is_first: bool
    """Whether it judges telemetry, which was all before there were families."""


class Admissions:
    """All of a worker's: what befalls the worker befalls each."""

    def __init__(self, each: Sequence[Admission]) -> None:
        self._each = tuple(each)

    def assigned(self) -> None:
        for one in self._each:
            one.assigned()

    def leave(self) -> None:
        for one in self._each:
            one.leave()

    def stop(self) -> None:
        for one in self._each:
            one.stop()

    def pause(self, pause_s: float) -> bool:
        """Sleep so long, or until a rebalance begins or the worker stops; whether it does."""
        return self._each[0].pause(pause_s)

    @property
    def reason(self) -> str | None:
        """Why nothing begins on any partition of a topic."""
        return next((one.reason for one in self._each if one.reason is not None), None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """`at_start` gives up at the start's deadline; `wait` sleeps and says whether the worker stops."""

    at_start: Retry
    wait: Callable[[float], bool]


def assemble(
    settings: Settings, store: ModelStore, of: Family, waiting: Waiting, parts: ExitStack
) -> WorkerModels | None:
    """Let the agreed model of the family serve, and follow it; `parts` ends that.

    None, with a line in the log, where the cluster lacks the topics of models: the model of the settings
    stays. Raises ModelRejected where the agreed model cannot be served: nothing else was agreed on;
    SettingsError where the settings' model is of another family than what was agreed on before there were
    families.
    """
    missing = waiting.at_start(lambda: missing_model_topics(settings))
    if missing:
        log.warning(
            "changes of model are not followed: Kafka has no topic %s (`autodeep topics create` makes it)",
            ", ".join(missing),
        )
        return None
    admission, loader = of.admission, of.admission.load
    family = admission.ref.name
    states = waiting.at_start(lambda: newest_states(settings))
    state = states.by_family().get(family)
    if state is None:
        if of.is_first:
            _nothing_left_behind(settings, states)
    else:
        _serve(state, loader, admission, waiting.at_start)
    patience = BackOff(waiting.wait, Said())
    publisher = parts.enter_context(KafkaPublisher(settings))
    topics = Topics(settings.topic_prefix)

    def report(status: ModelStatus) -> None:
        patience(lambda: publisher.publish([status_message(topics, status)]))

    ports = FollowerPorts(loader, report, _now_us)
    follower = Follower(WORKER, admission, ports, _done(state), of.challenge)
    if state is not None:
        follower.offer(state)
    _run(follower.follow, follower.stop, f"models-{family}", parts)

    def learn() -> None:
        newest = newest_state(settings, family)
        if newest is not None:
            follower.offer(newest, before_a_chunk=True)

    admission.learn = learn
    examiner = Examiner(store, admission, Limits(latency_ratio=settings.model_latency_ratio), loader)
    timeout_s = settings.model_switch_timeout_s
    exactly = ExactSwitch(KafkaFleet(settings, of.topic), admission.pause, timeout_s, _now_us)
    decisions = DecisionLog(settings, family)
    agent = ModelAgent(WORKER, decisions, examiner, lambda: admission.ref, patience, _now_us, exactly=exactly)
    old = states.before_families
    return WorkerModels(follower, agent, since=0 if old is None else old.revision)


def challenged(settings: Settings, parts: ExitStack) -> tuple[Challenge, Shadow]:
    """Nobody challenges yet. The scorer has a thread of its own, and gives up where the others wait."""
    challenge = Challenge()
    publisher = parts.enter_context(KafkaPublisher(settings))
    topics = Topics(settings.topic_prefix)

    def disagree(told: Sequence[Disagreement]) -> None:
        publisher.publish([_told(topics, one) for one in told])

    def report(status: ModelStatus) -> None:
        publisher.publish([status_message(topics, status)])

    shadow = Shadow(WORKER, challenge, settings.shadow_cpu_share, ShadowPorts(disagree, report))
    _run(shadow.run, shadow.stop, "shadow", parts)
    return challenge, shadow


def _told(topics: Topics, disagreement: Disagreement) -> Message:
    return Message(topics.disagreements, disagreement.device_id.encode(), encode_disagreement(disagreement))


def _nothing_left_behind(settings: Settings, states: States) -> None:
    """A name was no family once, so that a champion of another name than the settings' may serve.

    Once a decision was made about its family, it is known that families are meant.
    """
    old = states.before_families
    if old is not None and states.by_family()[old.family] is old:
        serves = f"{old.champion.name}/{old.champion.version}"
        raise SettingsError(
            f"AUTODEEP_MODEL={settings.model}: {serves} was agreed on, of another family of models; set "
            f"AUTODEEP_MODEL={old.family}@champion, or any other model of {old.family} (docs/models.md)"
        )


def _done(state: ModelState | None) -> int:
    """The revision that is brought about before the start; other models of a state are still to be loaded."""
    if state is None:
        return 0
    alone = state.preparing is None and state.challenger is None
    return state.revision if alone else state.revision - 1


def store_loader(store: ModelStore, layout: WindowLayout, operating_point: str = "") -> Load:
    """Of models that judge events of the layout's table by its windows."""
    return lambda ref: load(store, ref, layout, operating_point)


def _serve(state: ModelState, load: Load, admission: Admission, patience: Retry) -> None:
    """Before the first turn: a worker that starts during a change starts with the right model."""
    admission.plan(state.revision, state.switches)
    if admission.ref != state.champion:
        admission.swap(patience(lambda: load(state.champion)))
        ref = state.champion
        log.info(
            "serving model %s/%s (%s), revision %d", ref.name, ref.version, ref.digest[:12], state.revision
        )


def _run(body: Callable[[], None], end: Callable[[], None], name: str, parts: ExitStack) -> None:
    thread = start_thread(name, body)

    def stop() -> None:
        end()
        thread.join(_JOIN_S)

    parts.callback(stop)


def _now_us() -> int:
    return time.time_ns() // 1000
