"""Model commands, the agreed state, and what came of it, as bytes.

Commands and states are Avro behind the single-object header, whatever framing the alerts have: both ends are
ours. A status is flat JSON, for whoever watches the topic.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import fastavro

from streams.codec.avro import datum, framing, schemas
from streams.codec.plain import is_int64, is_number, is_plain, is_text, shown
from streams.errors import DataError

MODEL_COMMAND: Final = "ModelCommand"
MODEL_STATE: Final = "ModelState"
DISAGREEMENT: Final = "Disagreement"
KEY_BEFORE_FAMILIES: Final = b"active"
"""The one key of the compacted topic of active models, until states were kept by family."""

MOST_REVISION: Final = 2**53 - 1
"""Of a state that is taken in: nobody decides so often, and the next one must still be a number of Avro's."""

LONGEST_TEXT: Final = 1024
"""Of a message's own fields: what is read is told again, in a line of the log and in a status."""

StatusKind = Literal["decision", "worker", "challenge"]
Outcome = Literal[
    "promoted", "rolled_back", "shadowing", "canarying", "dismissed", "refused",
    "preparing", "serving", "prepared", "load_failed", "compared",
]  # fmt: skip


class ModelMessageUnreadable(DataError, ValueError):
    """A value on a topic of models that is none of ours, or of a newer schema."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One immutable version; `digest` is the sha256 (hex) of its manifest's bytes."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class ModelCommand:
    """A wish, not a decision: schemas/ModelCommand.avsc.

    It is about the family `name`; without a name (a rollback, a dismiss) about the one that is served.
    `action` is text, so that an older agent can refuse a newer action by its name. `at_offsets` empty means:
    at the ends that the telemetry partitions have when every worker is ready.
    """

    command_id: str
    action: str
    name: str
    issued_at_us: int
    version: str = ""
    digest: str = ""
    at_offsets: Mapping[str, int] | None = None
    canary_share: float = 0.0
    force: bool = False
    issued_by: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """From where on a model classifies: partition (decimal text) to its first offset, in one life of a topic.

    A partition that is not named, or of another `topic_id`, counts from its beginning.
    """

    model: ModelRef
    from_offsets: Mapping[str, int]
    topic_id: str


@dataclass(frozen=True, slots=True)
class ModelState:
    """What every worker serves of one family: schemas/ModelState.avsc. Each decision adds one to `revision`.

    `previous` is the champion before, which a rollback goes back to. While `preparing` names the next one,
    no worker that has loaded it begins a chunk. `switches`, oldest first, say which model classifies which
    offsets; where there are none, the champion does, as soon as each worker is ready.
    """

    revision: int
    champion: ModelRef
    decided_at_us: int
    challenger: ModelRef | None = None
    challenger_role: str = ""
    canary_share: float = 0.0
    previous: ModelRef | None = None
    command_id: str = ""
    preparing: ModelRef | None = None
    switches: tuple[Switch, ...] = ()

    @property
    def family(self) -> str:
        """The name of its models, and the key of the state."""
        return self.champion.name


@dataclass(frozen=True, slots=True)
class Agreed:
    """A family's newest state, None before the first, and the commands decided so far, as the topics say."""

    state: ModelState | None = None
    decided: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What came of a command (kind `decision`), or what one worker does about it (kind `worker`).

    Of kind `challenge` it tells how the challenger, which it names, compares so far: `figures` are those of
    core.comparison, empty in all others.
    `revision` is that of the state meant: of a refusal, the one that stays. `load_s` is 0 where nothing was
    loaded. `detail` is one line for people; encoding joins its lines.
    """

    kind: StatusKind
    worker: str
    command_id: str
    revision: int
    name: str
    version: str
    digest: str
    outcome: Outcome
    detail: str
    load_s: float
    at_us: int
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """The answer to a command; that a model is being prepared is none yet."""
        return self.kind == "decision" and self.outcome != "preparing"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one model said of an event."""

    name: str
    version: str
    digest: str
    verdict: str
    score: float
    novelty: float


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An event on which the challenger is of another mind: schemas/Disagreement.avsc."""

    alert_id: str
    device_id: str
    event_time_us: int
    topic: str
    partition: int
    offset: int
    champion: Opinion
    challenger: Opinion


def encode_disagreement(disagreement: Disagreement) -> bytes:
    return _encode(DISAGREEMENT, disagreement)


def decode_disagreement(value: bytes | None) -> Disagreement:
    """Raises ModelMessageUnreadable."""
    fields = _decode(DISAGREEMENT, value)
    opinions = {name: Opinion(*fields[name]) for name in ("champion", "challenger")}
    return Disagreement(**{**fields, **opinions})


def encode_command(command: ModelCommand) -> bytes:
    return _encode(MODEL_COMMAND, command)


def decode_command(value: bytes | None) -> ModelCommand:
    """Raises ModelMessageUnreadable."""
    fields = _decode(MODEL_COMMAND, value)
    force = fields["force"]
    if isinstance(force, bytes):  # the strict reader gives a boolean as its byte
        if force not in (b"\0", b"\1"):
            raise ModelMessageUnreadable(f"no {MODEL_COMMAND}: force is the byte 0x{force.hex()}")
        force = force == b"\1"
    return ModelCommand(**{**fields, "force": force, "at_offsets": _offsets(fields)})


def encode_state(state: ModelState) -> bytes:
    return _encode(MODEL_STATE, state)


def decode_state(value: bytes | None) -> ModelState:
    """Raises ModelMessageUnreadable."""
    fields = _decode(MODEL_STATE, value)
    if not 0 <= fields["revision"] <= MOST_REVISION:
        raise ModelMessageUnreadable(f"no {MODEL_STATE}: revision {fields['revision']}")
    if not 0 <= fields["canary_share"] <= 1:  # nor NaN
        raise ModelMessageUnreadable(f"no {MODEL_STATE}: a canary's share of {fields['canary_share']:g}")
    refs = {
        name: None if fields[name] is None else ModelRef(*fields[name])
        for name in ("champion", "challenger", "previous", "preparing")
    }
    switches = tuple(
        Switch(ModelRef(*model), dict(offsets), topic_id) for model, offsets, topic_id in fields["switches"]
    )
    return ModelState(**{**fields, **refs, "switches": switches})


def encode_status(status: ModelStatus) -> bytes:
    fields = {**dataclasses.asdict(status), "detail": " ".join(status.detail.split())}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace")  # a detail may quote a manifest, and that half of a surrogate pair


def decode_status(value: bytes | None) -> ModelStatus:
    """Fields that a newer writer adds are passed over. Raises ModelMessageUnreadable."""
    try:
        fields = json.loads(value or b"")
    except (ValueError, RecursionError) as exc:
        raise ModelMessageUnreadable(f"the status is no JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise ModelMessageUnreadable("the status is JSON, but no object")
    figures = fields.get("figures", {})
    if not isinstance(figures, dict) or not is_plain(figures):
        raise ModelMessageUnreadable("the status's figures are no object of numbers and texts")
    typed = {name: _typed(name, fields.get(name), wanted) for name, wanted in _STATUS.items()}
    return ModelStatus(**typed, figures=figures)


_STATUS: Final[Mapping[str, type | tuple[str, ...]]] = {
    "kind": get_args(StatusKind),
    "worker": str,
    "command_id": str,
    "revision": int,
    "name": str,
    "version": str,
    "digest": str,
    "outcome": get_args(Outcome),
    "detail": str,
    "load_s": float,
    "at_us": int,
}


def _typed(name: str, value: object, wanted: type | tuple[str, ...]) -> Any:
    if isinstance(wanted, tuple):
        good = isinstance(value, str) and value in wanted
    elif wanted is str:
        good = is_text(value)
    else:
        good = is_number(value) if wanted is float else is_int64(value)
    if not good:
        expected = " or ".join(wanted) if isinstance(wanted, tuple) else wanted.__name__
        raise ModelMessageUnreadable(f"the status's {name} is {shown(value)}, not {expected}")
    return float(value) if wanted is float else value  # type: ignore[arg-type]


@functools.cache
def _parsed(name: str) -> Any:
    return fastavro.parse_schema(dict(schemas.load(name).source))


def _encode(name: str, message: ModelCommand | ModelState | Disagreement) -> bytes:
    out = io.BytesIO()
    out.write(framing.single_object_header(schemas.load(name).fingerprint))
    fastavro.schemaless_writer(out, _parsed(name), dataclasses.asdict(message))
    return out.getvalue()


@functools.cache
def _writers(name: str) -> Mapping[bytes, schemas.Schema]:
    return schemas.by_fingerprint((*schemas.history(name), schemas.load(name)))


def _decode(name: str, value: bytes | None) -> dict[str, Any]:
    """The fields of a record, with the schema's defaults for those that an older writer did not know."""
    if not value:
        raise ModelMessageUnreadable(f"no {name}: the value is empty")
    if value[: len(framing.SINGLE_OBJECT_MAGIC)] != framing.SINGLE_OBJECT_MAGIC:
        raise ModelMessageUnreadable(f"no {name}: the value begins with {value[:2].hex(' ')}, not c3 01")
    current = schemas.load(name)
    fingerprint = value[len(framing.SINGLE_OBJECT_MAGIC) : framing.SINGLE_OBJECT_SIZE]
    writer = _writers(name).get(fingerprint)
    if writer is None:
        raise ModelMessageUnreadable(
            f"no {name} schema has the fingerprint {fingerprint.hex()}; a newer writer?"
        )
    try:
        values, end = datum.reader_of(writer)(value, framing.SINGLE_OBJECT_SIZE)
    except datum.Unreadable as exc:
        raise ModelMessageUnreadable(f"no {name}: {exc.detail}") from exc
    if end != len(value):
        raise ModelMessageUnreadable(f"no {name}: it ends at byte {end} of {len(value)}")
    written = dict(zip((field["name"] for field in writer.canonical["fields"]), values, strict=True))
    for part, text in written.items():
        if isinstance(text, str) and len(text) > LONGEST_TEXT:
            raise ModelMessageUnreadable(
                f"no {name}: {part} has {len(text)} characters, at most {LONGEST_TEXT} are taken"
            )
    fields = current.source["fields"]
    return {field["name"]: written.get(field["name"], field.get("default")) for field in fields}


def _offsets(fields: Mapping[str, Any]) -> dict[str, int] | None:
    found = fields["at_offsets"]
    return None if found is None else dict(found)
