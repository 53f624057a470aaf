"""KDD Cup 1999 and NSL-KDD files into columns, and which class each published attack type belongs to.

A line is the features in the order of the table's `file_columns`, 41 of KDD'99's, then the label (KDD'99 ends
it with a dot), then, in NSL-KDD, a difficulty. No header. Rows stand in capture order and carry neither time
nor address.
Sources: kddcup.names, training_attack_types and the contest's task description (UCI KDD archive);
Tavallaee et al. 2009 for NSL-KDD.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.core.tables import FeatureTable, Rows
from streams.errors import DataError

TRAINING_ATTACKS: Final[Mapping[str, tuple[str, ...]]] = {
    "dos": ("back", "land", "neptune", "pod", "smurf", "teardrop"),
    "probe": ("ipsweep", "nmap", "portsweep", "satan"),
    "r2l": ("ftp_write", "guess_passwd", "imap", "multihop", "phf", "spy", "warezclient", "warezmaster"),
    "u2r": ("buffer_overflow", "loadmodule", "perl", "rootkit"),
}

# Types that occur in the contest's test file only. httptunnel counts as u2r, as the contest scored it.
NOVEL_ATTACKS: Final[Mapping[str, tuple[str, ...]]] = {
    "dos": ("apache2", "mailbomb", "processtable", "udpstorm"),
    "probe": ("mscan", "saint"),
    "r2l": ("named", "sendmail", "snmpgetattack", "snmpguess", "worm", "xlock", "xsnoop"),
    "u2r": ("httptunnel", "ps", "sqlattack", "xterm"),
}

CLASS_OF: Final[Mapping[str, str]] = {"normal": "normal"} | {
    attack: name
    for attacks in (TRAINING_ATTACKS, NOVEL_ATTACKS)
    for name, types in attacks.items()
    for attack in types
}
"""Label, without its dot, to class."""

UNLABELLED: Final = "unlabelled"
_LABEL, _DIFFICULTY, _EXTRA = "label", "difficulty", "extra"


@dataclass(frozen=True, slots=True, eq=False)
class KddRows:
    """The readable rows of a file in its order, and what was left out."""

    rows: Rows  # (N,)
    label: npt.NDArray[np.int64]  # (N,) place in `labels`
    labels: tuple[str, ...]  # attack types and "normal", without dots, sorted
    line: npt.NDArray[np.int64]  # (N,) 1-based line in the file
    left_out: Mapping[str, int]  # reason -> lines
    table: FeatureTable  # what the rows are of
    first_left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> 1-based line in the file

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def left_out_said(self) -> str:
        """One line about what was left out, with the first line of each kind; empty where nothing was."""
        kinds = (
            f"{reason}: {count} (first in line {self.first_left_out[reason]})"
            for reason, count in self.left_out.items()
        )
        total = sum(self.left_out.values())
        return f"{total} of {total + len(self)} lines cannot be used: {', '.join(kinds)}" if total else ""


def read_rows(path: Path, table: FeatureTable, *, labelled: bool = True) -> KddRows:
    """Read a plain or gzip file of this table's columns; in a file none of them may be absent.

    Lines that cannot be used are left out and counted by reason.
    Where it need not be `labelled`, a row without a label is UNLABELLED. A symbol that the feature table does
    not list is no fault: it becomes the unknown symbol.
    Raises DataError where the file is missing, cut off, of another shape, or without one usable row.
    """
    parsed = _parse(path, _contents(path), table, labelled)
    text = parsed.select(pl.all().str.strip_chars())
    if not labelled:
        text = text.with_columns(pl.col(_LABEL).fill_null(UNLABELLED))
    numbers = text.select(pl.col(name).cast(pl.Float32, strict=False) for name in table.numeric_names)
    reasons = _faults(text, numbers, table.file_columns)
    good = np.ones(len(text), bool)
    left_out: dict[str, int] = {}
    first: dict[str, int] = {}
    for reason, mask in reasons.items():
        places = np.flatnonzero(mask & good)
        if len(places):
            left_out[reason], first[reason] = len(places), int(places[0]) + 1
        good &= ~mask
    if not good.any():
        raise DataError(f"{path}: no usable row among {len(text)} lines ({_counts(left_out)})")
    codes = np.stack([_codes(text, column.name, column.symbols) for column in table.symbolic], 1)  # (N, 3)
    names = text[_LABEL].str.strip_suffix(".").filter(pl.Series(good)).to_numpy()
    labels, label = np.unique(names.astype(str), return_inverse=True)
    return KddRows(
        rows=table.pack(numbers.to_numpy()[good], codes[good]),
        label=label.astype(np.int64),
        labels=tuple(labels.tolist()),
        line=np.flatnonzero(good) + 1,
        left_out=left_out,
        table=table,
        first_left_out=first,
    )


def classes_of(labels: Sequence[str], classes: Mapping[str, str] = CLASS_OF) -> tuple[str, ...]:
    """The class of each label. Raises DataError for a label of no known attack type."""
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise DataError(
            f"unknown label {', '.join(map(repr, unknown[:3]))}: no attack type of KDD'99 or NSL-KDD"
        )
    return tuple(classes[label] for label in labels)


def segment_starts(count: int, devices: int) -> npt.NDArray[np.int64]:
    """The first row of each device where a file is dealt out in contiguous segments. (devices,).

    Replay and evaluation cut alike: device k has the rows from k * count // devices to the next start.
    """
    if not 1 <= devices <= max(count, 1):
        raise DataError(f"{devices} devices cannot share {count} rows: give 1 to {max(count, 1)}")
    return np.arange(devices, dtype=np.int64) * count // devices


def _contents(path: Path) -> bytes:
    """The file's text, with line ends of every kind made LF."""
    data = file_text(path)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def file_text(path: Path) -> bytes:
    """A file's bytes, decompressed where it is gzip. Raises DataError where it is cut off or unreadable."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise DataError(
                f"{path}: the gzip data is cut off or damaged ({exc}); fetch the file again"
            ) from exc
    return data


def _parse(path: Path, data: bytes, table: FeatureTable, labelled: bool) -> pl.DataFrame:
    first = data.split(b"\n", 1)[0]
    fields = first.count(b",") + 1
    if not data.strip():
        raise DataError(f"{path}: holds no rows")
    columns = table.file_columns
    if not len(columns) + labelled <= fields <= len(columns) + 2:
        raise DataError(
            f"{path}: the first line has {fields} columns; KDD'99 has 42 (41 features and the label), "
            "NSL-KDD 43 (a difficulty after it)"
        )
    # A header of our own: shorter lines are then filled with nulls.
    header = ",".join((*columns, _LABEL, _DIFFICULTY, _EXTRA)).encode() + b"\n"
    try:
        return pl.read_csv(
            header + data,
            infer_schema=False,
            truncate_ragged_lines=True,
            quote_char=None,
            encoding="utf8-lossy",
        )
    except pl.exceptions.PolarsError as exc:
        raise DataError(f"{path}: is no comma-separated text ({exc})") from exc


def _faults(
    text: pl.DataFrame, numbers: pl.DataFrame, columns: Sequence[str]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Reason -> (N,) where it holds; a line that has several counts for the first."""

    def any_of(frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
        return frame.select(pl.any_horizontal(pl.all())).to_series().fill_null(False).to_numpy()

    needed = text.select(*columns, _LABEL)
    absent = needed.select((pl.all().is_null()) | (pl.all() == ""))
    return {
        "missing value": any_of(absent),
        "too many columns": text[_EXTRA].is_not_null().to_numpy(),
        "not a number": any_of(numbers.select(pl.all().is_null() | ~pl.all().is_finite())),
        "negative number": any_of(numbers.select(pl.all() < 0)),
    }


def _codes(text: pl.DataFrame, name: str, symbols: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    codes = {symbol: code for code, symbol in enumerate(symbols, start=1)}
    return text[name].replace_strict(codes, default=0, return_dtype=pl.UInt8).to_numpy()


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.items() if count)
