"""Why an incident's worst alert was raised, as the incident's state keeps it until it closes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from streams.codec.output.alert_json import explained, plain
from streams.codec.output.incidents import explanation_of
from streams.core.alerts import Explanation


def encode_reason(
    explanation: Explanation | None, context: Mapping[str, str] | None, reasons: Sequence[str] = ()
) -> bytes:
    said = None if explanation is None else explained(explanation)
    reason: dict[str, Any] = {"explanation": said, "context": None if context is None else dict(context)}
    if reasons:
        reason["reasons"] = list(reasons)
    return plain(reason).encode()


def decode_reason(value: bytes) -> tuple[Explanation | None, Mapping[str, str] | None, tuple[str, ...]]:
    """Of a value that `encode_reason` wrote."""
    said = json.loads(value)
    return explanation_of(said["explanation"]), said["context"], tuple(said.get("reasons", ()))
