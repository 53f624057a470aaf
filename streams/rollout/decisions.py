"""Decides which model serves and which challenges: pure rules over a family's agreed state and a command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from streams.codec.models import MOST_REVISION, ModelCommand, ModelRef, ModelState, ModelStatus, Outcome
from streams.rollout.switching import challenge_left, preparing

_LONGEST_DETAIL: Final = 1000
_LONGEST_NAME: Final = 128
_OUTCOME: Final[dict[str, Outcome]] = {
    "promote": "promoted",
    "rollback": "rolled_back",
    "shadow": "shadowing",
    "canary": "canarying",
    "dismiss": "dismissed",
}
_PHASES: Final = 2
"""So many revisions a command may take."""
_NAMES_A_MODEL: Final = ("promote", "shadow", "canary")
_ITSELF: Final = "it is the champion, and cannot challenge itself"


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts when a command comes: the agreed state, and the champion, from the settings before it."""

    state: ModelState | None
    champion: ModelRef

    @property
    def family(self) -> str:
        return self.champion.name

    @property
    def revision(self) -> int:
        return 0 if self.state is None else self.state.revision


@dataclass(frozen=True, slots=True)
class Wanted:
    """The version that a command asks for, to be examined. A rollback's was champion before."""

    ref: ModelRef
    is_rollback: bool
    allow_narrower: bool


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of loading the version and of the gate: `problem` is empty where it may serve."""

    ref: ModelRef
    problem: str


@dataclass(frozen=True, slots=True)
class Moment:
    agent: str
    at_us: int


def wanted(standing: Standing, command: ModelCommand) -> Wanted | str:
    """What there is to examine, or why the command is refused unexamined."""
    problem = _unfit(standing, command)
    if problem:
        return problem
    if command.action in _NAMES_A_MODEL:
        ref = ModelRef(command.name, command.version, command.digest)
        return Wanted(ref, is_rollback=False, allow_narrower=command.force)
    if command.action == "dismiss":
        return "there is no challenger"
    previous = standing.state.previous if standing.state is not None else None
    if previous is None:
        return "there is no champion before this one to go back to"
    if previous.name != standing.family:  # promoted before there were families
        return f"the champion before, {previous.name}/{previous.version}, is of another family of models"
    return Wanted(previous, is_rollback=True, allow_narrower=True)


def _unfit(standing: Standing, command: ModelCommand) -> str:
    if not command.command_id:
        return "the command has no id"
    if command.action not in _OUTCOME:
        return (
            f"action {command.action[:_LONGEST_NAME]!r} is none that this agent knows ({', '.join(_OUTCOME)})"
        )
    if command.name not in ("", standing.family):
        other = command.name[:_LONGEST_NAME]
        return f"the family {other} is not served here: AUTODEEP_MODEL is of {standing.family}"
    if command.action in _NAMES_A_MODEL and not (command.name and command.version):
        return f"a {command.action} names a model and a version"
    if command.action == "canary" and not 0 < command.canary_share <= 1:
        return f"a canary's share of the devices is above 0 and at most 1, not {command.canary_share:g}"
    return _unfit_offsets(command) or _no_revision(standing)


def _no_revision(standing: Standing) -> str:
    if standing.revision <= MOST_REVISION - _PHASES:
        return ""
    return f"no revision is left after {standing.revision}, which the topic of active models has"


def _unfit_offsets(command: ModelCommand) -> str:
    if command.at_offsets is not None and command.action != "promote":
        return f"only a promote switches at exact offsets, and no {command.action}"
    if command.at_offsets:
        return "a switch is at the offsets of now (an empty map); others cannot be asked for"
    return ""


def is_served(standing: Standing, target: Wanted) -> bool:
    """Whether that very version is the agreed champion: nothing is to be decided then."""
    if standing.state is None or target.is_rollback:
        return False
    champion, ref = standing.champion, target.ref
    return (champion.name, champion.version) == (ref.name, ref.version) and ref.digest in (
        "",
        champion.digest,
    )


def decide(
    standing: Standing, command: ModelCommand, examined: Examined | None, moment: Moment
) -> tuple[ModelState | None, ModelStatus]:
    """The next state, None where all stays as it is, and the answer.

    `examined` is None where `wanted` refused or the version is served already.
    """
    if command.action == "dismiss" and not _unfit(standing, command) and _challenger(standing) is not None:
        return _dismissed(standing, command, moment)
    target = wanted(standing, command)
    if isinstance(target, str):
        return None, refused(standing, command, target, moment)
    if is_served(standing, target):
        return _as_served(standing, command, moment)
    if examined is None:
        raise ValueError("a version that was not examined cannot be decided on")
    if examined.problem:
        return None, refused(standing, command, examined.problem, moment)
    if command.action in ("shadow", "canary"):
        return _challenged(standing, command, examined.ref, moment)
    return _promoted(standing, command, examined.ref, moment)


def _as_served(
    standing: Standing, command: ModelCommand, moment: Moment
) -> tuple[ModelState | None, ModelStatus]:
    if command.action != "promote":
        return None, refused(standing, command, _ITSELF, moment)
    said = "it is the champion already"
    return None, status_of(standing.champion, standing.revision, command, "promoted", said, moment)


def _promoted(
    standing: Standing, command: ModelCommand, ref: ModelRef, moment: Moment
) -> tuple[ModelState | None, ModelStatus]:
    """The champion of the next state; of an exact switch the first of its two phases."""
    if command.at_offsets is not None:
        prepare = preparing(standing.state, standing.champion, ref, command, moment.at_us)
        return prepare, status_of(ref, prepare.revision, command, "preparing", "", moment)
    state = ModelState(
        revision=standing.revision + 1,
        champion=ref,
        decided_at_us=moment.at_us,
        previous=None if ref == standing.champion else standing.champion,
        command_id=command.command_id,
        **challenge_left(standing.state, ref),
    )
    return state, status_of(ref, state.revision, command, _OUTCOME[command.action], "", moment)


def _challenger(standing: Standing) -> ModelRef | None:
    return None if standing.state is None else standing.state.challenger


def _challenged(
    standing: Standing, command: ModelCommand, ref: ModelRef, moment: Moment
) -> tuple[ModelState | None, ModelStatus]:
    """The same champion, and this challenger in the place of one before."""
    if ref == standing.champion:
        return None, refused(standing, command, _ITSELF, moment)
    state = replace(
        standing.state or ModelState(0, standing.champion, moment.at_us),
        revision=standing.revision + 1,
        preparing=None,
        challenger=ref,
        challenger_role=command.action,
        canary_share=command.canary_share if command.action == "canary" else 0.0,
        decided_at_us=moment.at_us,
        command_id=command.command_id,
    )
    return state, status_of(ref, state.revision, command, _OUTCOME[command.action], "", moment)


def _dismissed(
    standing: Standing, command: ModelCommand, moment: Moment
) -> tuple[ModelState | None, ModelStatus]:
    before = standing.state
    if before is None or before.challenger is None:
        raise ValueError("nobody to dismiss")
    state = replace(
        before,
        revision=before.revision + 1,
        preparing=None,
        challenger=None,
        challenger_role="",
        canary_share=0.0,
        decided_at_us=moment.at_us,
        command_id=command.command_id,
    )
    return state, status_of(before.challenger, state.revision, command, "dismissed", "", moment)


def refused(standing: Standing, command: ModelCommand, problem: str, moment: Moment) -> ModelStatus:
    ref = ModelRef(command.name, command.version, command.digest)
    return status_of(ref, standing.revision, command, "refused", problem, moment)


def status_of(
    ref: ModelRef, revision: int, command: ModelCommand, outcome: Outcome, detail: str, moment: Moment
) -> ModelStatus:
    return ModelStatus(
        kind="decision",
        worker=moment.agent,
        command_id=command.command_id,
        revision=revision,
        name=ref.name[:_LONGEST_NAME],
        version=ref.version[:_LONGEST_NAME],
        digest=ref.digest[:_LONGEST_NAME],
        outcome=outcome,
        detail=detail[:_LONGEST_DETAIL],
        load_s=0.0,
        at_us=moment.at_us,
    )
