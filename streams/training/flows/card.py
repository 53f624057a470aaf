"""The card of a model of flows: what it is for, what it was made of, its figures, what it does not find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LICENCES: Final[Mapping[str, str]] = {
    "iot23": "CC BY 4.0 (Stratosphere IoT-23, doi 10.5281/zenodo.4743746)",
    "strato": "GPL-2.0 (Stratosphere security-datasets-for-testing)",
    "sme": "GPL-2.0 (Stratosphere IDPS-Comparison-Tool-Scripts)",
    "rita": "GPL-3.0 (activecm/rita test data)",
    "nemea": "BSD-3 (CESNET/NEMEA-SIoT)",
}
"""Of the published captures; of the others none is known to us."""
_COLUMNS: Final = {
    "probe_out": "scan, from a device",
    "probe_in": "scan, of a device",
    "c2": "C2",
    "c2_retrying": "C2 that keeps trying to reconnect",
    "dos_out": "flood, from a device",
    "dos_in": "flood, of a device",
    "r2l": "guessing (r2l)",
}


def model_card(name: str, version: str, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    plan = training["plan"]
    return f"""# {name} {version}

A variational autoencoder of normal flows as feature extractor, a bidirectional GRU over a device's last
{plan["window"]} flows as classifier (AUTODEEP-ID), and monotone evidence beside them: failing peers on a
port, failing ports on a peer, failures to a host and port, attempts and failures in a row can only raise the
network's score of an attack. Of scans and of C2 boosted trees speak too, {plan["tree_rounds"]} of each and
{plan["tree_depth"]} questions deep, in which evidence, by who began the flow, cannot lower a score either.
Their log-odds and the network's, of C2 a quarter of these, are added.

## Intended use
Classifying flows of devices, table `flow`, of Zeek, Suricata, NetFlow and others, into
{", ".join(training["classes"])}. `novel` marks what is like nothing in training. It is a second opinion for
an operator; it proves no attack, and nothing should be blocked on its word alone.

## What it does not claim
Established encrypted C2, exfiltration, abuse of MQTT, slow denial of service and floods by UDP: the captures
hold none, or so few that nothing learnt of them holds elsewhere. C2 means a device that keeps trying to
reach whoever controls it, or reports to it often. Floods are few in the captures: figures of them are of one
network or two. A novelty is odd, and no more: it names no attack.

## Operating points
They differ in one thing, how dear a false alarm is; AUTODEEP_OPERATING_POINT chooses.

{_points(training)}

## How it was made
    {training["command"]}

{_files(training)}

One model of all captures ships. Its thresholds and points come from {training["folds"]} further models, each
of which had left out one data set with attacks, or some without: they were chosen on networks that those had
not seen. Half of the steps saw the flows as NetFlow has them, without states, services and payload. Every
choice of the run is in `manifest.json` under `training.plan`. Which classes have trees, and how far the
network is trusted beside them, was chosen among some 45 variants, nearly all in one seed, with figures of
attacks on networks left out in view.

## Figures on networks left out
At the point {training["default"]}, by the folds' models. Thresholds of classes were chosen on the clean flows
of the same folds together, those of the scored network among them, and the points on the false incidents told
below: these figures lean to the good side. No attack's score had a say in thresholds or points; figures of
attacks on networks left out were in view when the network was designed. `autodeep evaluate flows` takes
thresholds of other networks alone. An incident is 3 of a device's last 10 flows, and closes after an hour.

{_columns(metrics["left_out"])}

{_false(metrics["left_out"])}

The same with NetFlow's fields alone:

{_columns(metrics["left_out_netflow"])}

{_false(metrics["left_out_netflow"])}

## By capture, of networks left out
{_by_capture(metrics["left_out"])}

## Captures and their licences
{_captures(training)}
"""


def _points(training: Mapping[str, Any]) -> str:
    lines = ["| point | factor | chosen so that |", "| --- | --- | --- |"]
    for name, of in training["operating_points"].items():
        lines.append(f"| {name} | {of['false_alarm_factor']:g} | {of['says']} |")
    return "\n".join(lines)


def _files(training: Mapping[str, Any]) -> str:
    return "\n".join(f"Table: {of['file']}, sha256 `{of['sha256']}`." for of in training["files"])


def _columns(found: Mapping[str, Any]) -> str:
    lines = [
        "| | flows | of captures | called so | any attack | episodes found | flows until found | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, of in found["columns"].items():
        lines.append(
            f"| {_COLUMNS.get(name, name)} | {of['flows']:,} | {of['captures']} | {of['recall']:.1%} "
            f"| {of['flagged']:.1%} | {of['found']} of {of['episodes']} | {_short(of['flows_until_found'])} "
            f"| {_short(of['seconds_until_found'])} |"
        )
    return "\n".join(lines)


def _false(found: Mapping[str, Any]) -> str:
    parts = [
        f"{name} {of['incidents']} in {of['device_days']:.1f} device-days"
        + ("" if of["a_device_day"] is None else f" ({of['a_device_day']:.2f} a day)")
        for name, of in found["false_incidents"].items()
    ]
    return (
        f"False incidents on devices without attacks: {'; '.join(parts)}. Of 100,000 clean flows "
        f"{found['false_positives_per_100000'] or 0:.0f} are called an attack."
    )


def _by_capture(found: Mapping[str, Any]) -> str:
    lines = ["| capture | | flows | called so | episodes found |", "| --- | --- | --- | --- | --- |"]
    for capture, columns in found["by_capture"].items():
        for name, of in columns.items():
            lines.append(
                f"| {capture} | {_COLUMNS.get(name, name)} | {of['flows']:,} | {of['recall']:.1%} "
                f"| {of['found']} of {of['episodes']} |"
            )
    return "\n".join(lines)


def _captures(training: Mapping[str, Any]) -> str:
    lines = ["| data set | captures | flows | licence |", "| --- | --- | --- | --- |"]
    by_set: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, of in training["captures"].items():
        by_set.setdefault(of["dataset"], []).append((name, of))
    for dataset, captures in sorted(by_set.items()):
        flows = sum(value for _, of in captures for key, value in of.items() if key != "dataset")
        names = ", ".join(name for name, _ in captures)
        lines.append(f"| {dataset} | {names} | {flows:,} | {LICENCES.get(dataset, 'none stated')} |")
    return "\n".join(lines)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
