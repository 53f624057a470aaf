"""What must hold once all is quiet again, whatever was killed: read from the topics and from each worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from confluent_kafka import Message

from bench.output import to_the_end
from bench.parts import Parts
from streams.codec.models import ModelState, ModelStatus, decode_state, decode_status
from streams.codec.output.alerts import decode_alert


@dataclass(frozen=True, slots=True)
class Read:
    """All that is committed on the topics, in order."""

    states: Sequence[ModelState]
    decisions: Sequence[ModelStatus]
    judged: Mapping[tuple[str, int], str]
    """Device and event time to the digest of the model of the first verdict."""
    digests: Set[str]
    """Of all verdicts, repeats too."""


def read(parts: Parts) -> Read:
    topics = parts.topics
    states = [decode_state(m.value()) for m in to_the_end(parts, [topics.model_active])]
    statuses = [decode_status(m.value()) for m in to_the_end(parts, [topics.model_status])]
    judged, digests = _judged(to_the_end(parts, [topics.classified]))
    return Read(states, [s for s in statuses if s.kind == "decision"], judged, digests)


def _judged(messages: Iterable[Message]) -> tuple[dict[tuple[str, int], str], set[str]]:
    judged, digests = dict[tuple[str, int], str](), set[str]()
    for message in messages:
        alert = decode_alert(message.value(), message.headers())
        judged.setdefault((alert.device_id, alert.event_time_us), alert.model_digest)
        digests.add(alert.model_digest)
    return judged, digests


def broken_laws(
    read: Read, commands: Sequence[str], first_digest: str, serving: Sequence[Mapping[str, object]], sent: int
) -> list[str]:
    """One line for each law that does not hold. `serving` is what each live worker says that it serves."""
    broken = [*_revisions(read.states), *_answers(read, commands)]
    newest = max(read.states, key=lambda state: state.revision, default=None)
    wanted = (newest.revision, newest.champion.digest) if newest is not None else (0, first_digest)
    for one in serving:
        if (one.get("revision"), one.get("digest")) != wanted:
            broken.append(f"agreed is revision {wanted[0]} {wanted[1][:12]}, a worker serves {one}")
    if sent != len(read.judged):
        broken.append(f"{sent} events sent, {len(read.judged)} judged")
    strangers = read.digests - {first_digest, *(state.champion.digest for state in read.states)}
    if strangers:
        broken.append(f"verdicts of models that never were active: {', '.join(sorted(strangers))}")
    return broken


def _revisions(states: Sequence[ModelState]) -> list[str]:
    """Each decision adds one, so that no revision is there twice and none goes back."""
    revisions = [state.revision for state in states]
    in_order = revisions == list(range(1, len(revisions) + 1))
    return [] if in_order else [f"the revisions are {revisions}"]


def _answers(read: Read, commands: Sequence[str]) -> list[str]:
    """Every command has one decision; a state is there exactly where its decision says so."""
    broken = []
    answered = Counter(decision.command_id for decision in read.decisions)
    for command in commands:
        if answered[command] != 1:
            broken.append(f"command {command} has {answered[command]} decisions")
    decided = {
        decision.command_id: (decision.revision, decision.digest)
        for decision in read.decisions
        if decision.outcome != "refused"
    }
    for state in read.states:
        said = decided.get(state.command_id)
        if said != (state.revision, state.champion.digest):
            broken.append(
                f"revision {state.revision} of command {state.command_id}: its decision says {said}"
            )
    return broken
