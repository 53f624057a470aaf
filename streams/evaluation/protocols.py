"""The protocols of `autodeep evaluate`: from what a user names to a finished study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streams.codec.ingest.kdd import read_rows
from streams.errors import SettingsError
from streams.evaluation import splits
from streams.evaluation.pictures import PAPER
from streams.evaluation.splits import Split, Trial
from streams.evaluation.study import Scope, study
from streams.evaluation.tables import percent
from streams.evaluation.training import Training, nsl_kdd_trials, paper_trials
from streams.model.detector import Detector
from streams.training import log, sources

Json = dict[str, Any]
KDDTEST_21: Final = sources.NSL_KDD.others[0]
_METRICS: Final[Mapping[str, str]] = {"kdd99": "test", "nsl-kdd": "nsl_kdd_test"}


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A model of a store with its manifest and the folder in which its training's log may lie."""

    detector: Detector
    manifest: Mapping[str, Any]
    log_folder: Path | None

    def trial(self, split: Split, protocol: str) -> Trial:
        training = self.manifest.get("training", {})
        seed = training.get("plan", {}).get("seed") if isinstance(training, Mapping) else None
        records = tuple(log.read(self.log_folder)) if self.log_folder else ()
        file = str(training.get("file", "")) if isinstance(training, Mapping) else ""
        return Trial(self.detector, split, seed, self._readings(protocol), file, records)

    def _readings(self, protocol: str) -> int:
        """As documented, where they are: a repeat of a documented reading gives the same figures."""
        found = self.manifest.get("metrics", {}).get(_METRICS.get(protocol, ""), {})
        return max(int(found.get("readings", 1)), 1) if isinstance(found, Mapping) else 1


def kdd99(models: Sequence[Stored], data: Path, scope: Scope) -> Json:
    """The official test file."""
    split = splits.official(data, models[0].detector.table)
    found = _titled("kdd99", "Detection on KDD'99's official test file", models, split, scope)
    found["notes"].append("For comparison: the contest's winner reached 92.71 % at a cost of 0.2331.")
    return found


def own_file(models: Sequence[Stored], path: Path, training: Path | None, scope: Scope) -> Json:
    """A labelled file of the user's own."""
    split = splits.own_file(path, training, models[0].detector.table)
    return _titled("file", f"Detection on {path.name}", models, split, scope)


def nsl_kdd(models: Sequence[Stored], data: Path, scope: Scope) -> Json:
    """KDDTest+, and KDDTest-21 beside it (`also`), with stored models."""
    table = models[0].detector.table
    whole = splits.nsl_kdd(data, sources.NSL_KDD.test, table)
    hard = splits.nsl_kdd(data, KDDTEST_21, table, whole)
    found = [_titled("nsl-kdd", "Detection on NSL-KDD", models, split, scope) for split in (whole, hard)]
    found[0]["notes"].append(
        "These models come from a store. What they were trained on stands in their cards; "
        "rows that also stand in training are told from KDDTrain+ alone."
    )
    return {**found[0], "also": {"KDDTest-21": found[1]}}


def nsl_kdd_trained(seeds: Sequence[int], data: Path, training: Training, scope: Scope) -> Json:
    """KDDTest+ and KDDTest-21 with models trained on KDDTrain+ here, one for each seed."""
    split = splits.nsl_kdd(data, sources.NSL_KDD.test, training.table)
    trials = list(nsl_kdd_trials(split, seeds, training))
    other = splits.nsl_kdd(data, KDDTEST_21, training.table, split)
    beside = [dataclasses.replace(it, split=other) for it in trials]
    head = {"protocol": "nsl-kdd", "title": "Detection on NSL-KDD, trained on KDDTrain+"}
    return {**head, **study(trials, scope), "also": {"KDDTest-21": {**head, **study(beside, scope)}}}


def paper(seeds: Sequence[int], data: Path, training: Training, scope: Scope) -> Json:
    """The paper's protocol, trained and tested anew for each seed."""
    path = data if data.is_file() else sources.find(data, sources.KDD99, sources.KDD99.train)
    found = study(list(paper_trials(read_rows(path, training.table), seeds, training)), scope)
    head = {
        "protocol": "paper",
        "title": "The paper's protocol, repeated and questioned",
        "paper": dict(PAPER),
    }
    return {**head, "key_sentences": _why_easy(found), **found}


def _why_easy(found: Json) -> list[str]:
    split, (point, of) = found["split"], next(iter(found["operating_points"].items()))
    u2r = of["per_class"]["u2r"]
    best = max(
        (it["accuracy"] for name, it in found.get("baselines", {}).items() if name != "description"),
        default=None,
    )
    beside = f" A simple baseline reaches {100 * best:.2f} % on it." if best else ""
    return [
        f"This split is easy: {_share(split['seen_rows_share'])} of its test rows "
        f"({_share(split['seen_distinct_share'])} of the distinct ones) repeat, feature by feature, a row of "
        f"the training part, so memory is enough to know them.{beside} Figures on it say little about "
        "attacks that were never seen.",
        f"On distinct rows only, accuracy is {percent(of['distinct'], 'accuracy')} ({point}); on distinct "
        f"rows that do not occur in training {percent(of['unseen_distinct'], 'accuracy')}. U2R recall is "
        f"{_share(u2r['recall'])} of {u2r['support']:.1f} rows a split on average, so a single row moves it "
        f"by about {100 / max(u2r['support'], 1):.0f} points.",
    ]


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f} %"


def _titled(protocol: str, title: str, models: Sequence[Stored], split: Split, scope: Scope) -> Json:
    found = study([model.trial(split, protocol) for model in models], scope)
    names = ", ".join(it["model"] for it in found["models"]) if len(models) < 4 else f"{len(models)} models"
    return {"protocol": protocol, "title": f"{title}: {names}", **found}


def parsed_seeds(text: str) -> tuple[int, ...]:
    """ "5" -> seeds 1 to 5; "3,7,9" -> those. Raises SettingsError."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    seeds = tuple(range(1, numbers[0] + 1)) if len(numbers) == 1 else numbers
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise SettingsError(f"--seeds {text!r}: give how many (5), or different numbers with commas (1,2,3)")
    return seeds
