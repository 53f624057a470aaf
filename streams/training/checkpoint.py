"""Checkpoints of a training run: safetensors and JSON, replaced atomically, so a killed run can go on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from streams.errors import DataError

FILE: Final = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. `run` is the digest of plan and data: another run's checkpoint is refused."""

    run: str
    phase: str
    step: int


def write(folder: Path, at: Progress, network: nn.Module, optimizer: torch.optim.Adam) -> None:
    """Replace the run's checkpoint; a reader sees the old one or the new one, never half of one."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for place, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": torch.as_tensor(value) for name, value in state.items()}
    metadata = {"run": at.run, "phase": at.phase, "step": str(at.step)}
    data = save_tensors({name: value.contiguous() for name, value in tensors.items()}, metadata)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}.{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / FILE)


def read(folder: Path, run: str) -> tuple[Progress, dict[str, Tensor]] | None:
    """The run's checkpoint, or None where there is none. Raises DataError for a broken or foreign one."""
    path = folder / FILE
    if not path.exists():
        return None
    data = path.read_bytes()
    try:
        tensors = load_tensors(data)
        size = int.from_bytes(data[:8], "little")
        metadata: dict[str, Any] = json.loads(data[8 : 8 + size])["__metadata__"]
        at = Progress(metadata["run"], metadata["phase"], int(metadata["step"]))
    except (SafetensorError, KeyError, ValueError) as exc:
        raise DataError(f"{path}: the checkpoint cannot be read ({exc}); delete it to start anew") from exc
    if at.run != run:
        raise DataError(
            f"{path}: belongs to a run with other data or options; delete it, or give another --run-dir"
        )
    return at, tensors


def restore_network(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    network.load_state_dict(
        {name.removeprefix("network."): v for name, v in tensors.items() if name.startswith("network.")}
    )


def restore_optimizer(optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, place, key = name.split(".", 2)
            state.setdefault(int(place), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
