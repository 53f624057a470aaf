"""`autodeep flows judge`: the verdicts as lines of JSON, or the incidents as a table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.client.flow_sources import FlowSource
    from streams.client.flow_verdicts import Told
    from streams.core.home import Home
    from streams.core.incidents import Incident
    from streams.core.profile.agreed import Agreed
    from streams.pipeline.flow_judging import FlowJudge

_MOST = 100
"""Incidents that are shown one by one."""


def judge_file(source: FlowSource, home: Home, model: tuple[str, str], profile: str, *, as_json: bool) -> int:
    """The exit code. `model`: which, and in which store; `profile`: a file, or empty."""
    import json

    from streams.cli.output import say
    from streams.client.flow_verdicts import NOTHING_TOLD, Counted, judged, remarks, summary
    from streams.client.flow_verdicts import as_json as object_of
    from streams.core.profile.rules import Held

    judge, counted = _judge_of(*model, _agreed(profile, home)), Counted()
    verdicts, held = Counter[str](), Counter[str]()
    told: dict[str, Told] = {}
    for one in judged(source, home, judge, counted):
        verdicts[one.verdict] += 1
        held.update([one.held.word] if one.held else [])
        if as_json:
            print(json.dumps(object_of(one)))
        if one.incident is not None:
            told[one.incident] = told.get(one.incident, NOTHING_TOLD).with_one(one.end_us)
    if as_json:
        print(json.dumps({"summary": summary(source, judge, counted, verdicts.total(), held)}))
    else:
        _show(told, judge.incidents)
        devices = f"{judge.devices:,} device{'' if judge.devices == 1 else 's'}"
        named = ", ".join(f"{name} {count:,}" for name, count in verdicts.most_common())
        say(
            f"{counted.records:,} records ({counted.skipped:,} skipped, {counted.rejected:,} rejected), "
            f"{verdicts.total():,} flows of {devices}{f': {named}' if named else ''}"
        )
        if held:
            why = ", ".join(f"{name} {count:,}" for name, count in sorted(held.items()))
            say(f"{held.total():,} verdicts do not alert: {why}")
        if held[Held.LEARNING.word]:
            say(
                "learning: a device's first half hour, in which it alerts beyond doubt alone; "
                "AUTODEEP_FLOW_LEARNING_S=0 has all of it told"
            )
    for remark in remarks(source, counted):
        typer.echo(f"autodeep: {remark}", err=True)
    return 2 if source.damage or not counted.flows else 0


def _judge_of(model: str, store: str, agreed: Agreed) -> FlowJudge:
    """Raises ModelRejected where there is no such model, or it is of another table."""
    import os

    import torch

    from streams.adapters.store.models import open_store
    from streams.client.flow_verdicts import judge_of
    from streams.settings import Settings

    torch.set_num_threads(1)
    settings = Settings.from_environment(os.environ)
    detector = open_store(store or settings.model_store, settings.model_trust_key).load(model)
    return judge_of(detector, settings, agreed)


def _agreed(profile: str, home: Home) -> Agreed:
    """What a file says of the site that the flows are of. Raises DataError for a file that is none of its."""
    from pathlib import Path

    from streams.client.profiles import read_file_for
    from streams.core.profile.agreed import Agreed

    return Agreed.always(read_file_for(Path(profile), home)) if profile else Agreed()


def _show(told: Mapping[str, Told], incidents: Mapping[str, Incident]) -> None:
    from rich.table import Table

    from streams.cli.output import add_row, console, say
    from streams.codec.times import to_the_second

    if not told:
        return
    table = Table(title="Incidents", title_justify="left", box=None)
    for name in ("device", "what", "severity", "alerts", "from (UTC)", "to"):
        table.add_column(name, justify="right" if name == "alerts" else "left")
    found = sorted(told.items(), key=lambda one: (one[1].first_us, one[0]))
    for key, one in found[:_MOST]:
        what = incidents[key]
        times = to_the_second(one.first_us), to_the_second(one.last_us)
        add_row(table, what.device_id, what.verdict, what.severity.word, f"{one.alerts:,}", *times)
    console().print(table)
    if len(found) > _MOST:
        say(f"and {len(found) - _MOST:,} more")
