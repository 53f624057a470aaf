"""Features of all captures in one view, computed once and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from streams.core.flow.columns import COLUMNS, DeviceFlows, joined
from streams.core.flow.table import FLOW
from streams.errors import SettingsError
from streams.evaluation.flows.views import seen_as
from streams.training.flow_captures import Capture, describe
from streams.training.flow_protocol.labelled import LabelledFlows, labelled


def features_of(
    captures: Sequence[Capture], view: str, setting_up: Collection[str], folder: Path | None
) -> LabelledFlows:
    """From the folder, or made and put there. Raises DataError, and SettingsError for the folder."""
    path = folder / f"{_digest(captures, view, setting_up)}.npz" if folder else None
    found = _read(path)
    if found is None:
        found = labelled((seen_as(one, view) for one in captures), setting_up)
        _write(path, found)
    return found


def told_of(captures: Sequence[Capture]) -> DeviceFlows:
    """The flows that the features of all fields belong to, in their order, devices numbered alike."""
    parts, devices = [], 0
    for one in captures:
        if len(one.flows):
            flows = describe(one).flows
            parts.append(dataclasses.replace(flows, device=flows.device + devices))
            devices += len(one.devices)
    return joined(parts)


def _digest(captures: Sequence[Capture], view: str, setting_up: Collection[str]) -> str:
    """Of all that features follow from, but for the code."""
    said = [view, sorted(setting_up), [[one.name, one.dataset, one.label] for one in captures]]
    digest = hashlib.sha256(json.dumps(said).encode() + FLOW.digest)
    for one in captures:
        for name in COLUMNS:
            digest.update(np.ascontiguousarray(getattr(one.flows, name)).view(np.uint8).data)
    return digest.hexdigest()[:32]


def _read(path: Path | None) -> LabelledFlows | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            found: dict[str, Any] = {field.name: kept[field.name] for field in fields(LabelledFlows)}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    found |= {name: tuple(found[name].tolist()) for name in ("captures", "datasets")}
    found["rows"] = found["rows"].view(FLOW.row)[:, 0]
    return LabelledFlows(**found)


def _write(path: Path | None, flows: LabelledFlows) -> None:
    if path is None:
        return
    arrays: dict[str, Any] = {
        field.name: np.asarray(getattr(flows, field.name)) for field in fields(LabelledFlows)
    }
    arrays["rows"] = flows.rows.view(np.uint8).reshape(len(flows), -1)
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, **arrays)
        part.replace(path)
    except OSError as exc:
        raise SettingsError(f"{path.parent}: features cannot be kept: {exc.strerror or exc}") from exc
