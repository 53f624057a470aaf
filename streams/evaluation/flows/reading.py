"""A table of labelled flows, checked before anything long begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from streams.errors import DataError
from streams.training.flow_captures import Capture, captures

GIVEN: Final = "given.parquet"
AT_HOME: Final[Mapping[str, Sequence[str]]] = {"rita": ("64.225.56.201",)}
"""Public addresses at home, by capture: of the given captures."""
ALONE: Final = frozenset({"st008"})
"""Captures of which the busiest address alone is at home."""
_TEXTS: Final[tuple[str, ...]] = (
    *("capture", "dataset", "orig_addr", "resp_addr", "proto", "service", "state", "history", "label"),
)
_NUMBERS: Final[tuple[str, ...]] = (
    *("row", "start_s", "duration_s", "orig_port", "resp_port", "orig_packets", "resp_packets"),
    *("orig_ip_bytes", "resp_ip_bytes", "orig_bytes", "resp_bytes"),
)


def find(data: Path) -> Path:
    """A table itself, or that of the given captures in a folder of data sets. Raises DataError."""
    places = [data, data / GIVEN, data / "flows" / GIVEN]
    found = next((one for one in places if one.is_file()), None)
    if found is None:
        raise DataError(f"{data}: neither a table of flows nor a folder with flows/{GIVEN}")
    return found


def read(path: Path, at_home: Mapping[str, Sequence[str]], alone: Collection[str]) -> list[Capture]:
    """Raises DataError where the file is no table of labelled flows."""
    try:
        schema = pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise DataError(f"{path}: cannot be read as Parquet: {exc}") from exc
    missing = [name for name in (*_TEXTS, *_NUMBERS) if name not in schema]
    wrong = [name for name in _TEXTS if name in schema and schema[name] not in (pl.String, pl.Null)]
    wrong += [name for name in _NUMBERS if name in schema and not schema[name].is_numeric()]
    if missing or wrong:
        said = (
            f"columns are missing: {', '.join(missing)}"
            if missing
            else f"no fitting type: {', '.join(wrong)}"
        )
        raise DataError(f"{path}: is no table of labelled flows, {said}")
    return list(captures(path, at_home, tuple(alone)))
