"""What simple methods make of the same split: fitted on its training rows with scikit-learn's defaults.

Nothing of them is tuned. They see one row at a time: 38 numbers and 3 symbol codes, no history. Repeats are
weights, which makes a random forest's bootstrap one of distinct rows.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.codec.ingest.kdd import KddRows
from streams.core.tables import Rows
from streams.evaluation.measure import Case
from streams.evaluation.splits import Split, Tell, of_classes, subset
from streams.training.dataset import distinct_vectors
from streams.training.evaluate import true_classes

Floats = npt.NDArray[np.float32]
TREES: Final = 100
DESCRIPTION: Final = (
    f"Random forest and extra trees: {TREES} trees, scikit-learn's defaults, fitted on the training rows of "
    "this split alone, each row by itself, verdict of the greatest probability; nothing tuned. "
    "Majority: always the training rows' commonest class."
)
NAMES: Final[Mapping[str, str]] = {
    "majority": "majority",
    "random forest": "RandomForestClassifier",
    "extra trees": "ExtraTreesClassifier",
}


def baselines(split: Split, classes: tuple[str, ...], seed: int, tell: Tell) -> dict[str, Case]:
    """Name -> answers on the split's test rows; none where its training rows are not at hand.

    Minutes the first time on KDD'99's file; afterwards from the cache folder ($AUTODEEP_CACHE).
    """
    if split.training is None:
        return {}
    train = subset(split.training, of_classes(split.training, classes))
    target = true_classes(classes, train)
    truth = true_classes(classes, split.test)
    asked = (split.within or split).test.rows  # one forest answers for both
    places = _places(asked, split.test.rows)
    if places is None:
        asked, places = split.test.rows, np.arange(len(split.test))
    found = {}
    for name in NAMES:
        tell(f"baseline: {name}, seed {seed}")
        posterior = _cached(
            {"name": name, "trees": TREES, "seed": seed, "classes": classes},
            (train.rows, target, asked),
            functools.partial(_posterior, name, train, target, asked, len(classes), seed),
        )[places]
        closest = posterior.argmax(1).astype(np.int64)
        found[name] = Case(truth, closest, closest != 0, posterior, classes, np.zeros(len(truth), bool))
    return found


def _places(known: Rows, wanted: Rows) -> npt.NDArray[np.int64] | None:
    """For each of `wanted` (M,) a row of `known` with the same vector; None where one has none."""
    _, vector = distinct_vectors(np.concatenate((known, wanted)))
    place = np.full(int(vector.max()) + 1, -1, np.int64)
    place[vector[: len(known)]] = np.arange(len(known))
    found: npt.NDArray[np.int64] = place[vector[len(known) :]]
    return found if (found >= 0).all() else None


def _posterior(
    name: str, train: KddRows, target: npt.NDArray[np.int64], test: Rows, classes: int, seed: int
) -> Floats:
    """(N, C) float32 of the test rows."""
    out = np.zeros((len(test), classes), np.float32)
    if name == "majority":
        out[:] = np.bincount(target, minlength=classes) / len(target)
        return out
    from sklearn import ensemble  # noqa: PLC0415 - an extra, and slow to import

    _, vector = distinct_vectors(train.rows)
    _, first, count = np.unique(vector * classes + target, return_index=True, return_counts=True)
    forest = getattr(ensemble, NAMES[name])(n_estimators=TREES, random_state=seed, n_jobs=1)
    forest.fit(_columns(train.rows[first]), target[first], sample_weight=count)
    distinct, place = distinct_vectors(test)
    out[:, forest.classes_] = forest.predict_proba(_columns(test[distinct])).astype(np.float32)[place]
    return out


def _columns(rows: Rows) -> Floats:
    """(N,) rows -> (N, 41)."""
    return np.concatenate((rows["numbers"], rows["codes"].astype(np.float32)), 1)


def _cached(
    what: Mapping[str, Any], data: tuple[npt.NDArray[Any], ...], make: Callable[[], Floats]
) -> Floats:
    """An array from the cache, or made and put there; named by the digest of all that it follows from."""
    import sklearn  # noqa: PLC0415

    digest = hashlib.sha256(json.dumps([sklearn.__version__, what], sort_keys=True).encode())
    for array in data:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    named = os.environ.get("AUTODEEP_CACHE")
    folder = (Path(named) if named else Path.home() / ".cache" / "autodeep-id") / "baselines"
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    try:
        found: Floats = np.load(path, allow_pickle=False)
        return found
    except (OSError, ValueError, EOFError):
        made = make()
    try:  # a cache that cannot be written costs time, nothing else
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            np.save(file, made)
        Path(file.name).replace(path)
    except OSError:
        pass
    return made
