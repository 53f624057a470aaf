"""What a worker says of itself as bytes: flat JSON, for whoever watches the topic."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from streams.codec.plain import is_int64, is_number, is_text, shown
from streams.core.workers import ServedModel, WorkerFigures
from streams.errors import DataError

LARGEST_BYTES: Final = 64 * 1024
LONGEST_TEXT: Final = 500
_MOST_PARTITIONS: Final = 100_000


class FiguresUnreadable(DataError, ValueError):
    """A value on the topic of workers that is none of ours, or lacks what this version reads."""


def encode_figures(figures: WorkerFigures) -> bytes:
    """Texts for people are cut to a length."""
    short = dataclasses.replace(
        figures,
        why_not=figures.why_not[:LONGEST_TEXT],
        servers={name: problem[:LONGEST_TEXT] for name, problem in figures.servers.items()},
    )
    text = json.dumps(dataclasses.asdict(short), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace")


def decode_figures(key: bytes | None, value: bytes | None) -> WorkerFigures:
    """Fields that a newer writer adds are passed over. Raises FiguresUnreadable."""
    if value is not None and len(value) > LARGEST_BYTES:
        raise FiguresUnreadable(f"the figures have {len(value)} bytes")
    try:
        fields = json.loads(value or b"")
    except (ValueError, RecursionError) as exc:
        raise FiguresUnreadable(f"the figures are no JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise FiguresUnreadable("the figures are JSON, but no object")
    plain = {name: _typed(name, fields.get(name), wanted) for name, wanted in _FIELDS.items()}
    if plain["worker"].encode() != key:
        raise FiguresUnreadable("the key is not the worker's name")
    return WorkerFigures(
        **plain,
        partitions=_partitions(fields.get("partitions")),
        models=tuple(map(_model, _listed("models", fields.get("models")))),
        servers=_texts(fields.get("servers")),
    )


_FIELDS: Final[Mapping[str, str]] = {
    "worker": "text",
    "host": "text",
    "version": "text",
    "group": "text",
    "started_at_us": "integer",
    "at_us": "integer",
    "expires_at_us": "integer",
    "role": "text",
    "ready": "boolean",
    "why_not": "text",
    "events_per_s": "number",
    "lag_records": "integer",
    "latency_p50_s": "number or null",
    "latency_p99_s": "number or null",
}
_MODEL: Final = {
    "family": "text",
    "version": "text",
    "digest": "text",
    "generation": "integer",
    "challenger": "text",
}
_IS: Final[Mapping[str, Callable[[object], bool]]] = {
    "text": is_text,
    "integer": is_int64,
    "boolean": lambda value: isinstance(value, bool),
    "number": is_number,
    "number or null": lambda value: value is None or is_number(value),
}


def _typed(name: str, value: object, wanted: str) -> Any:
    if not _IS[wanted](value):
        raise FiguresUnreadable(f"the figures' {name} is {shown(value)}, not {wanted}")
    return value


def _listed(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise FiguresUnreadable(f"the figures' {name} is {shown(value)}, not a list")
    return value


def _partitions(value: object) -> dict[str, list[int]]:
    if not isinstance(value, dict) or not all(map(is_text, value)):
        raise FiguresUnreadable(f"the figures' partitions are {shown(value)}, not an object")
    found = {topic: _listed("partitions", numbers) for topic, numbers in value.items()}
    for number in (number for numbers in found.values() for number in numbers):
        if not is_int64(number) or not 0 <= number < _MOST_PARTITIONS:
            raise FiguresUnreadable(f"the figures' partitions hold {shown(number)}")
    return found


def _model(value: object) -> ServedModel:
    if not isinstance(value, dict):
        raise FiguresUnreadable(f"the figures' models hold {shown(value)}")
    return ServedModel(**{name: _typed(name, value.get(name), wanted) for name, wanted in _MODEL.items()})


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(map(is_text, (*value, *value.values()))):
        raise FiguresUnreadable(f"the figures' servers are {shown(value)}, not an object of texts")
    return value
