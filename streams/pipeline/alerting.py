"""From a turn's verdicts to alerts, with what drove them where that is asked. Where a turn is delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streams.codec.output.alerts import Output
from streams.core.alerts import Alert, in_share
from streams.core.topics import NORMAL, Topics
from streams.core.windows import Windows
from streams.model.classified import Classified, alerts_of, windows_of
from streams.model.drivers import explanations


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment decides about the path."""

    topics: Topics
    idle_us: int
    outputs: Sequence[Output]
    """The forms in which alerts leave."""
    publish_classified: bool = False
    """Whether normal verdicts are told, too."""
    version: str = ""
    explain_share: float = 0.0
    """Of the alerts, by their ids: the same ones say what drove them however often they are published."""
    new_devices_per_s: int = 0
    """Devices without a window that are let in per partition; the events of others are dead letters."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one model said of a turn's devices, and the windows (D,) that it looked at, before the turn."""

    classified: Classified
    windows: Windows


def alerts_from(judged: Judged, rules: Rules, now_us: int) -> tuple[list[int], list[Alert]]:
    """The alerts in the events' order, and their applied events' places; normal verdicts where asked for."""
    names = judged.classified.names
    wanted = [i for i, name in enumerate(names) if name != NORMAL or rules.publish_classified]
    return wanted, alerts_of(judged.classified, wanted, now_us) if wanted else []


def explained(judged: Judged, places: Sequence[int], alerts: list[Alert], share: float) -> list[Alert]:
    """The same alerts, of the applied events at `places`; that share of them with what drove them."""
    chosen = [
        number
        for number, alert in enumerate(alerts)
        if alert.verdict != NORMAL and in_share(alert.alert_id, share)
    ]
    if not chosen:
        return alerts
    classified, at = judged.classified, [places[number] for number in chosen]
    found = explanations(
        classified.detector,
        windows_of(classified, judged.windows, at),
        classified.verdicts.verdict[at],
        classified.verdicts.closest[at],
    )
    explained = list(alerts)
    for number, explanation in zip(chosen, found, strict=True):
        explained[number] = replace(alerts[number], explanation=explanation)
    return explained
