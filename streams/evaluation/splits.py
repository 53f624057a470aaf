"""What is evaluated on what: the test rows, the rows that were trained on, and what to know of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.codec.ingest.kdd import CLASS_OF, TRAINING_ATTACKS, KddRows, classes_of, file_text, read_rows
from streams.core.tables import FeatureTable
from streams.errors import DataError
from streams.model.detector import Detector
from streams.training import sources
from streams.training.dataset import distinct_vectors

Mask = npt.NDArray[np.bool_]

TEST_SHARE: Final = 0.2  # the paper's 80/20
PAPER_CLASSES: Final = ("normal", "dos", "u2r")
KNOWN_TYPES: Final = frozenset(name for names in TRAINING_ATTACKS.values() for name in names)
_NOTHING_HERE: Final = (
    "This command fits and chooses nothing on these rows. How stored models were made and chosen stands in "
    "their cards."
)
_UNORDERED: Final = (
    "The file keeps no capture order (neighbouring rows share a label no more often than rows drawn at "
    "random), so every row is judged without history."
)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows to test on. `training` is None where the training rows are not at hand; then no row can be told
    from those that were trained on, and there are no baselines."""

    name: str
    test: KddRows
    training: KddRows | None
    tuned: str  # what was chosen on what, in a sentence
    known_types: frozenset[str] = KNOWN_TYPES
    ordered: bool = True  # False: each row is its own device
    remark: str = ""
    within: Split | None = None  # a split of the same training whose test rows hold all of these


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One model on one split. `readings`: how often the test rows were read for it, this time included."""

    detector: Detector
    split: Split
    seed: int | None
    readings: int
    trained_on: str = ""
    log: tuple[Mapping[str, Any], ...] = ()  # records of the training run, oldest first


def official(data: Path, table: FeatureTable) -> Split:
    """KDD'99: the contest's labelled test file; the 10 % training file beside it where it is there."""
    path = data if data.is_file() else sources.find(data, sources.KDD99, sources.KDD99.test)
    return Split(
        name=f"KDD'99, official test file ({path.name})",
        test=read_rows(path, table),
        training=_training(data, sources.KDD99, table),
        tuned=f"{_NOTHING_HERE} Baselines are fitted on the 10 % training file.",
    )


def nsl_kdd(data: Path, file: sources.DataFile, table: FeatureTable, within: Split | None = None) -> Split:
    """NSL-KDD: one of its test files, and KDDTrain+ beside it (that of `within`, where given)."""
    name = file.name.removesuffix(".txt.gz")
    training = within.training if within else None
    return Split(
        name=f"NSL-KDD, {name}",
        test=read_rows(sources.find(data, sources.NSL_KDD, file), table),
        training=training or read_rows(sources.find(data, sources.NSL_KDD, sources.NSL_KDD.train), table),
        tuned=f"{_NOTHING_HERE} Baselines are fitted on KDDTrain+.",
        ordered=False,
        remark=_UNORDERED,
        within=within,
    )


def paper(read: KddRows, seed: int) -> Split:
    """The paper's protocol: a random fifth of the 10 % file's normal, dos and u2r rows is the test.

    Each part is a sequence of its own, in capture order: no test row is history of a training row.
    """
    mine = subset(read, of_classes(read, PAPER_CLASSES))
    test = np.random.default_rng(seed).random(len(mine)) < TEST_SHARE
    training = subset(mine, ~test)
    return Split(
        name="The paper's protocol: random 80/20 split of KDD'99's 10 % file, three classes",
        test=subset(mine, test),
        training=training,
        tuned=(
            "Each seed draws its own split and trains its own model and baselines on the training part; a "
            "tenth of that part is held out for thresholds. Nothing was chosen on the test part."
        ),
        known_types=frozenset(training.labels),
    )


def own_file(path: Path, training: Path | None, table: FeatureTable) -> Split:
    """A labelled file of the user's own, in KDD'99's or NSL-KDD's format, rows in capture order.

    Raises DataError as `read_rows` does, and where the file mixes kinds of line ends.
    """
    refuse_mixed_line_ends(path)
    read = read_rows(path, table)
    try:
        classes_of(read.labels)  # before anything is computed
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    return Split(
        name=f"{path.name}, a file of one's own",
        test=read,
        training=read_rows(training, table) if training else None,
        tuned=_NOTHING_HERE,
    )


def refuse_mixed_line_ends(path: Path) -> None:
    """Raises DataError where LF and CRLF (or CR) both end lines: such a file was put together or damaged."""
    text = file_text(path)
    crlf = text.count(b"\r\n")
    kinds = {"LF": text.count(b"\n") - crlf, "CRLF": crlf, "CR": text.count(b"\r") - crlf}
    found = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
    if len(found) > 1:
        raise DataError(
            f"{path}: mixes line ends ({', '.join(found)}), so rows may be cut or joined; "
            "write it again with one kind"
        )


def _training(data: Path, data_set: sources.DataSet, table: FeatureTable) -> KddRows | None:
    folder = data.parent if data.is_file() else data
    try:
        return read_rows(sources.find(folder, data_set, data_set.train), table)
    except DataError:
        return None


def of_classes(read: KddRows, classes: tuple[str, ...]) -> Mask:
    """Which rows belong to one of `classes`. (N,) bool."""
    wanted = np.array([CLASS_OF.get(label) in classes for label in read.labels], bool)
    mask: Mask = wanted[read.label]  # (labels,) -> (N,)
    return mask


def subset(read: KddRows, mask: Mask) -> KddRows:
    """The rows of a mask, in order, with the labels that are left."""
    places, label = np.unique(read.label[mask], return_inverse=True)
    return dataclasses.replace(
        read,
        rows=read.rows[mask],
        label=label.astype(np.int64),
        labels=tuple(read.labels[place] for place in places),
        line=read.line[mask],
    )


def seen_in_training(split: Split) -> Mask | None:
    """Which test rows have a vector that also stands in training, whatever its label; None: not known."""
    if split.training is None:
        return None
    count = len(split.test)
    _, vector = distinct_vectors(np.concatenate((split.test.rows, split.training.rows)))
    trained = np.zeros(int(vector.max()) + 1, bool)
    trained[vector[count:]] = True
    seen: Mask = trained[vector[:count]]
    return seen


def first_of_each(read: KddRows) -> Mask:
    """The first row of each distinct vector and label. (N,) bool."""
    _, vector = distinct_vectors(read.rows)
    _, first = np.unique(vector * len(read.labels) + read.label, return_index=True)
    mask = np.zeros(len(read), bool)
    mask[first] = True
    return mask


Tell = Callable[[str], None]
"""Told, in words, of what is being done."""
