"""Alerts in JSON, fast enough for a flood.

As in `alert_bytes.py`: most of an alert is the same in all that one model says of one partition. Those pieces
are written once, found again by what they hold, and joined with the few that differ.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as quoted
from math import isfinite
from typing import Any, Final

from streams.codec.times import rfc3339
from streams.core.alerts import Alert, Explanation
from streams.core.severity import Severity

_KEPT: Final = 1024
"""Pieces kept of each kind: of more models, partitions and verdicts than a worker sees."""


def encode_alerts(alerts: Sequence[Alert], severities: Sequence[Severity]) -> list[bytes]:
    """The values of the alerts' records, each with its severity.

    Raises ValueError for a number that is not finite, UnicodeEncodeError for text that UTF-8 does not have.
    """
    return [
        "".join(
            (
                f'{{"alert_id":{quoted(alert.alert_id)},"device_id":{quoted(alert.device_id)}',
                f',"event_time":"{rfc3339(alert.event_time_us)}","detected_at":"',
                _moment(alert.detected_at_us),
                verdict,
                severity.word,
                _scores(alert.scores, alert.novelty),
                f"{place}{alert.offset}{model}",
                "null" if alert.explanation is None else plain(explained(alert.explanation)),
                ',"context":null' if alert.context is None else f',"context":{plain(dict(alert.context))}',
                _NO_INCIDENT if alert.incident_id is None else f',"incident_id":{quoted(alert.incident_id)}',
                _NO_PROFILE
                if alert.profile_revision is None and not alert.reasons
                else _of_site(alert.profile_revision, alert.reasons),
            )
        ).encode()
        for alert, severity in zip(alerts, severities, strict=True)
        for verdict, place, model in (_pieces(*_shared(alert)),)
    ]


_shared: Final = operator.attrgetter(
    *("verdict", "closest", "window_fill", "window_width", "topic", "topic_id", "partition"),
    *("model_name", "model_version", "model_digest", "model_role"),
)
"""What alerts have in common, mostly."""
_NO_INCIDENT: Final = ',"incident_id":null'
_NO_PROFILE: Final = ',"profile_revision":null,"reasons":[]}'


plain: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
"""JSON of whatever it is, without blanks. Raises ValueError for a number that is not finite."""


def explained(explanation: Explanation) -> dict[str, Any]:
    """As JSON has it. By hand: `dataclasses.asdict` takes ten times as long."""
    drivers = [
        {
            "feature": one.feature,
            "value": one.value,
            "share": one.share,
            "usual": one.usual,
            "normal": one.normal,
        }
        for one in explanation.features
    ]
    return {"features": drivers, "events": list(explanation.events)}


def _of_site(revision: int | None, reasons: Sequence[str]) -> str:
    return f',"profile_revision":{plain(revision)},"reasons":{plain(list(reasons))}}}'


_moment = functools.lru_cache(maxsize=16)(rfc3339)


def _scores(scores: Mapping[str, float], novelty: float) -> str:
    numbers = (*scores.values(), novelty)
    if not isfinite(sum(numbers)) and not all(map(isfinite, numbers)):
        raise ValueError(f"{numbers} cannot be written in JSON: not all of them are finite")
    return _score_layout(*scores) % numbers


@functools.lru_cache(maxsize=_KEPT)
def _score_layout(*classes: str) -> str:
    names = (quoted(name).replace("%", "%%") for name in classes)
    return f'","scores":{{{",".join(f"{name}:%r" for name in names)}}},"novelty":%r'


@functools.lru_cache(maxsize=_KEPT)
def _pieces(*shared: Any) -> tuple[str, str, str]:
    """The text up to the severity, from the scores to the offset, and from there to the explanation."""
    verdict, closest, fill, width, topic, topic_id, partition, *model = shared
    name, version, digest, role = map(quoted, model)
    return (
        f'","verdict":{quoted(verdict)},"closest":{quoted(closest)},"severity":"',
        f',"window_fill":{fill},"window_width":{width},"topic":{quoted(topic)},"topic_id":{quoted(topic_id)}'
        f',"partition":{partition},"offset":',
        f',"model_name":{name},"model_version":{version},"model_digest":{digest},"model_role":{role}'
        ',"explanation":',
    )
