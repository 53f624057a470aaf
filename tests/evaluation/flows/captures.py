"""Small captures of made-up flows: benign devices, scans that fail, and a device that keeps calling home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.training.test_flow_captures import ROW

Flow = dict[str, Any]


def benign(capture: str, dataset: str, count: int, seed: int = 0) -> list[Flow]:
    random = np.random.default_rng(seed)
    return [
        {
            **{"capture": capture, "dataset": dataset, "row": at, "start_s": 1_600_000_000.0 + 60 * at},
            **{"orig_port": 40_000 + at, "resp_addr": f"203.0.113.{random.integers(4)}"},
            **{"orig_packets": float(random.integers(5, 30)), "duration_s": float(random.integers(1, 200))},
        }
        for at in range(count)
    ]


FAILED = {
    **{"state": "S0", "duration_s": None, "resp_packets": 0.0, "resp_ip_bytes": 0.0, "service": None},
    **{"orig_packets": 1.0, "orig_ip_bytes": 40.0, "orig_bytes": None, "history": "S"},
}


def attacks(capture: str, dataset: str, label: str, count: int) -> list[Flow]:
    """Of one device of its own: `scan` goes to many peers, `c2` to one and the same."""
    return [
        {
            **FAILED,
            **{"capture": capture, "dataset": dataset, "row": 10_000 + at, "label": label},
            **{"start_s": 1_600_000_000.0 + (1.0 if label == "scan" else 30.0) * at},
            **{"orig_addr": "192.168.1.66", "orig_port": 50_000 + at, "resp_port": 23},
            "resp_addr": f"198.51.100.{at % 250}" if label == "scan" else "198.51.100.7",
        }
        for at in range(count)
    ]


def networks() -> list[Flow]:
    """Three data sets, four captures; what is learnt in one is there in the others."""
    made = []
    for at, dataset in enumerate(("one", "two", "sentinel")):
        made += benign(f"home{at}", dataset, 60, seed=at)
        made += attacks(f"home{at}", dataset, "scan", 40) + attacks(f"home{at}", dataset, "c2", 40)
    return made + benign("quiet", "one", 40, seed=9)


def written(folder: Path, made: list[Flow]) -> Path:
    path = folder / "flows.parquet"
    schema = {name: pl.Float64 if isinstance(value, float) else None for name, value in ROW.items()}
    pl.DataFrame(
        [ROW | one for one in made],
        schema_overrides={"resp_bytes": pl.Float64}
        | {name: kind for name, kind in schema.items() if kind is not None},
        infer_schema_length=None,
    ).write_parquet(path)
    return path
