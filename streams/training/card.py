"""The model card: who may use the model for what, how it was made, what it does, and where it is blind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.training.evaluate import Evaluation
from streams.training.metrics import Figures


@dataclass(frozen=True, slots=True)
class Reading:
    """An evaluation on a test file, and how often that file was read for this model."""

    evaluation: Evaluation
    readings: int


def model_card(
    name: str,
    version: str,
    training: Mapping[str, Any],
    held_out: Figures,
    test: Reading | None,
    seeds: Mapping[str, Any] | None = None,
) -> str:
    """MODEL_CARD.md from what was measured; without a reading of the test file it says so.

    `seeds`: what `autodeep evaluate kdd99 --json` printed of this model and its like from other seeds.
    """
    cleansing, plan = training["cleansing"], training["plan"]
    return f"""# {name} {version}

A variational autoencoder as feature extractor and a bidirectional GRU as classifier (AUTODEEP-ID), trained
on {training["file"]}.

## Intended use
Classifying connection records with the 41 KDD'99 features, each in the context of its device's last
{plan["window"]} records, into {", ".join(training["classes"])}. `novel` marks what weighs more as an attack
of no known kind than as any known one. It is a second opinion for an operator, and a baseline for models
trained on one's own traffic. It proves no attack, and nothing should be blocked on its word alone.

## Operating points
They differ in one thing, how dear a false alarm is; AUTODEEP_OPERATING_POINT chooses.

{_points(training)}

## How it was made
    {training["command"]}

Training file: {training["file"]}, sha256 of its text `{training["sha256"]}`.
{_cleansed(cleansing)}
Nothing else was used: training never opens the test file. Held out of training, for the temperature and the
figures below: normal rows in blocks of 500, and a tenth of the vectors of every attack type with at least
100; no vector stands on both sides. Rarer types are all learnt from, so the figures on held-out rows say
little about r2l and nothing about u2r. What each column weighs in the novelty, how novelty speaks for an
unknown attack, and the operating points were fitted on {plan.get("folds", 0)} further models, each of which
had left out a part of the attack types and of the kinds of normal events (clusters), so that each was left
out once. Every choice of the run is in `manifest.json` under `training.plan`.

Choices were made on the training file, by what models that had left attack types and kinds of normals out
flag of both and of held-out normals, and before that by the costs of held-out normals, known attacks and
types left out (`docs/detection.md`, which also says how often the test file had been read before). Parts
of the shape were taken over from earlier explorations, which had read it 28 times for orientation.

## Figures on held-out rows of the training file
{_table(held_out)}

## Figures over seeds
{_seeds(seeds)}

## Figures on the official test file
{_test(test)}

## Known blind spots
- The records are from 1998. Today's services, encrypted traffic and IoT protocols such as MQTT are not in
  them; an unknown service or flag is taken as the unknown symbol.
- Training windows follow the whole network's capture order, since the data set names no devices. A device's
  own history is another distribution; for that reason history was hidden or shortened in a share of the
  training windows, and mixed with other events in others.
- snmpgetattack looks like normal SNMP connections record by record (98 % of its vectors also occur as
  normal): a model of this kind cannot find it. snmpguess is made of ordinary records too.
- A burst of ordinary records, such as mailbomb or guessed passwords, is told by how many in a window are
  alike: not where it is slower than a device's other events, or where normal events come in such bursts.
- u2r has 52 training rows: its recall is down to luck.
- Normals of other weeks and other networks are flagged more often than those held out of the training file;
  how often normals of a kind that was left out are, the operating points say. Train on your own traffic.
"""


def _points(training: Mapping[str, Any]) -> str:
    lines = ["| point | a false alarm costs | chosen so that |", "| --- | --- | --- |"]
    for name, of in training.get("operating_points", {}).items():
        lines.append(f"| {name} | {of['false_alarm_factor']:g} times the matrix's | {of['says']} |")
    return "\n".join(lines)


_SHOWN: Final = (
    ("contest cost", ("cost",), "{:.4f}"),
    ("accuracy", ("accuracy",), "{:.2%}"),
    ("normals flagged", ("false_positive_rate",), "{:.2%}"),
    ("novel types flagged, but for snmp and mailbomb", ("novel_flagged",), "{:.1%}"),
    ("u2r recall", ("per_class", "u2r", "recall"), "{:.1%}"),
    ("u2r flagged", ("per_class", "u2r", "flagged"), "{:.1%}"),
    ("r2l recall", ("per_class", "r2l", "recall"), "{:.1%}"),
)


def _seeds(found: Mapping[str, Any] | None) -> str:
    """Mean, lowest and highest of the headline figures at each operating point."""
    if found is None:
        return "Not measured for this artifact."
    lines = [
        f"Official test file, {found['seeds']} models that differ in their seed alone, each of which read it",
        "once, after all choices were made; mean (lowest to highest).",
        "",
        f"| figure | {' | '.join(found['operating_points'])} |",
        "| --- " * (len(found["operating_points"]) + 1) + "|",
    ]
    for title, path, form in _SHOWN:
        cells = [_with_spread(point, path, form) for point in found["operating_points"].values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_spread(point: Mapping[str, Any], path: tuple[str, ...], form: str) -> str:
    for key in path[:-1]:
        point = point[key]
    spread = point.get("spread", {}).get(path[-1])
    mean = form.format(point[path[-1]])
    return f"{mean} ({form.format(spread['low'])} to {form.format(spread['high'])})" if spread else mean


def _cleansed(found: Mapping[str, Any]) -> str:
    unusable = sum(found["left_out"].values())
    return (
        f"{found['read']:,} lines read, {unusable:,} unusable, {found['contradictory']:,} contradictory and "
        f"{found['without_class']:,} without a class here\n(both are history, not learnt from), "
        f"{found['distinct']:,} distinct vectors; repeats are weighted, not dropped."
    )


def _test(test: Reading | None) -> str:
    if test is None:
        return "Not read for this artifact. `autodeep models release` records a reading."
    found, distinct = test.evaluation, test.evaluation.distinct_rows
    times = "once" if test.readings == 1 else f"{test.readings} times"
    lines = [
        f"Read {times} for this model, after all choices were made. Devices: {found.devices}, in file order.",
        "",
        _table(found.all_rows),
        "",
        f"{found.novel_verdicts:,} verdicts are `novel`: they count as their closest class, and as flagged.",
        f"Distinct rows only ({distinct.rows:,}): accuracy {distinct.accuracy:.2%}, "
        f"cost {distinct.cost:.4f}, false positives {_percent(distinct.false_positives)}.",
        "",
        "| attack type | in training | rows | flagged | right class |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, of in sorted(found.per_type.items(), key=lambda item: -item[1].rows):
        known = "yes" if of.known else "no"
        lines.append(f"| {name} | {known} | {of.rows:,} | {of.flagged:.1%} | {of.right_class:.1%} |")
    return "\n".join(lines)


def _table(found: Figures) -> str:
    names = list(found.per_class)
    lines = [
        f"{found.rows:,} rows. Accuracy {found.accuracy:.2%}; contest cost {found.cost:.4f}; false positives "
        f"on normals {_percent(found.false_positives)}; attacks flagged {_percent(found.detected)}.",
        "",
        "| class | rows | precision | recall | F1 | specificity | flagged |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, of in found.per_class.items():
        ratios = (of.precision, of.recall, of.f1, of.specificity, of.flagged)
        lines.append(f"| {name} | {of.rows:,} | " + " | ".join(map(_percent, ratios)) + " |")
    lines += ["", f"| true \\ verdict | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for name, row in zip(names, found.confusion, strict=True):
        lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in row)} |")
    return "\n".join(lines)


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2%}"
