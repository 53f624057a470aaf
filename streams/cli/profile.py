"""`autodeep profile`: what is known of a site, and what a person says about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streams.cli.flow_options import HOME
from streams.cli.output import add_row, console, say

if TYPE_CHECKING:
    from streams.client.profiles import Place
    from streams.core.profile.decisions import Decided
    from streams.core.profile.values import Profile, Word

app = typer.Typer(no_args_is_help=True, help="What is known of a site: learnt, accepted, rejected.")

_SITE = typer.Argument(help="The site, as devices' names begin; - for devices without one.")
_IDS = typer.Argument(help="Ids as `profile show` prints them; all: every proposal.")
_WHO = typer.Option(..., "--who", help="Who decides.")
_WHY = typer.Option(..., "--why", help="Why, for whoever asks later.")
_FILE = typer.Option(None, "--file", help="A profile in a file, instead of the topic's.")
_FEW = 20


@app.command()
def show(
    site: str = _SITE,
    everything: bool = typer.Option(False, "--all", help="Every entry, also those that raised no alert."),
    file: Path | None = _FILE,
    as_json: bool = typer.Option(False, "--json", help="The profile as it is kept, one JSON object."),
) -> None:
    """Show what is known of a site, and what waits for a person's word. Example:

        autodeep profile show house7

    Exit codes: 2 nothing is known of the site, or the file is none of its profiles; 69 Kafka did not answer.
    """
    profile = _known(site, file)
    if as_json:
        from streams.codec.profiles import encode_profile

        typer.echo(encode_profile(profile).decode())
        return
    _show(profile, everything)


@app.command()
def learn(
    site: str = _SITE,
    files: list[str] = typer.Argument(
        None, help="Files of sensors' records or captures; none: the topic of flows."
    ),
    *,
    since: str = typer.Option("1d", help="From when on the topic is read, such as 2h or 1d; or a time."),
    home: str = HOME,
    dialect: str = typer.Option("", help="Of the files; empty: AUTODEEP_FLOW_DIALECT."),
    model: str = typer.Option("", help="name@alias or name/version; empty: AUTODEEP_FLOW_MODEL."),
    who: str = typer.Option("", "--who", help="Who begins it."),
    why: str = typer.Option("", "--why", help="Why, for whoever asks later."),
    file: Path | None = _FILE,
) -> None:
    """Learn a site from its flows: what recurs is known or proposed, and which scores are its own. Examples:

        autodeep profile learn house7 --since 1d

        autodeep profile learn house7 conn.log.gz --home 192.168.0.0/16 --file house7.json

    What was accepted or rejected before stays. Silently only answered flows with private peers are learnt.
    Exit codes: 2 a file cannot be used, or holds no flow of the site; 3 the model cannot; 69 Kafka did not
    answer.
    """
    from streams.cli.profile_learn import Asked, learn_site

    _checked(site)
    word = _word(who, why)
    profile = learn_site(Asked(site, tuple(files or ()), since, home, dialect, model), word, _place(file))
    _say_changed(profile, file)


@app.command()
def accept(
    site: str = _SITE, ids: list[str] = _IDS, who: str = _WHO, why: str = _WHY, file: Path | None = _FILE
) -> None:
    """Say that proposals are the site's own: they alert no more as what they alerted as. Example:

        autodeep profile accept house7 3f9c1e02ab --who ann --why "the maker's cloud, ticket 81"

    Exit codes: 2 no such proposal, 69 Kafka did not answer.
    """
    _decide("accept", site, ids, _word(who, why), file)


@app.command()
def reject(
    site: str = _SITE, ids: list[str] = _IDS, who: str = _WHO, why: str = _WHY, file: Path | None = _FILE
) -> None:
    """Say that something is not the site's own: it is proposed no more, and what was learnt of it is undone.

    Exit codes: 2 no such proposal, key or threshold; 69 Kafka did not answer.
    """
    _decide("reject", site, ids, _word(who, why), file)


@app.command()
def forget(
    site: str = _SITE, ids: list[str] = _IDS, who: str = _WHO, why: str = _WHY, file: Path | None = _FILE
) -> None:
    """Undo what was learnt, accepted or rejected: it may be learnt or proposed again.

    Exit codes: 2 no such key, threshold or rejection; 69 Kafka did not answer.
    """
    _decide("forget", site, ids, _word(who, why), file)


@app.command("export")
def export_(site: str = _SITE, file: Path = typer.Argument(help="Where to write it.")) -> None:
    """Write a site's profile from the topic to a file, for `autodeep flows judge --profile FILE`.

    Exit codes: 2 nothing is known of the site, or the file cannot be written; 69 Kafka did not answer.
    """
    from streams.client.profiles import write_file

    profile = _known(site, None)
    write_file(file, profile)
    say(f"{file}: revision {profile.revision} of {site}")


@app.command("import")
def import_(
    site: str = _SITE,
    file: Path = typer.Argument(help="A profile that `export` or --file wrote."),
    who: str = _WHO,
    why: str = _WHY,
) -> None:
    """Make a file's profile the next revision of its site on the topic.

    Exit codes: 2 it is damaged, changed by hand, of another site, or older than the topic's; 69 Kafka did not
    answer.
    """
    from streams.client.profiles import imported, read_file

    brought = read_file(file, site)
    _say_changed(_place(None).change(site, imported(brought, _word(who, why))), None)


def _decide(action: Decided, site: str, ids: list[str], word: Word, file: Path | None) -> None:
    from streams.core.profile.decisions import decide

    _checked(site)
    _say_changed(_place(file).change(site, lambda now: decide(now, action, ids, word)), file)


def _known(site: str, file: Path | None) -> Profile:
    from streams.errors import DataError

    _checked(site)
    found = _place(file).read(site)
    if found is None:
        raise DataError(f"nothing is known of a site {site!r}; `autodeep profile learn` begins with it")
    return found


def _checked(site: str) -> None:
    from streams.core.profile.values import blank
    from streams.errors import SettingsError

    try:
        blank(site)
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc


def _place(file: Path | None) -> Place:
    import os

    from streams.client.profiles import InFile, OnTopic
    from streams.settings import Settings

    return OnTopic(Settings.from_environment(os.environ)) if file is None else InFile(file)


def _word(who: str, why: str) -> Word:
    import time

    from streams.core.profile.values import Word
    from streams.errors import SettingsError

    try:
        return Word(who, why, time.time_ns() // 1000)
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc


def _say_changed(profile: Profile, file: Path | None) -> None:
    from streams.core.profile.agreed import LEAD_US

    when = f"in {file}" if file is not None else f"in force in {LEAD_US // 1_000_000} s"
    say(f"revision {profile.revision} of {profile.site}, {when}")


def _show(profile: Profile, everything: bool) -> None:
    from streams.cli.alerts import when

    say(f"site {profile.site}, revision {profile.revision} of {when(profile.at_us)}")
    seen = profile.warm_up
    if seen is not None:
        say(
            f"learnt from {seen.flows:,} flows of {seen.devices:,} devices, {when(seen.from_us)} to "
            f"{when(seen.until_us)}, judged by {seen.model}"
        )
    _known_table(profile, everything)
    _proposals_table(profile, everything)
    _table(
        "rejected",
        ("id", "what", "by", "why"),
        [(one.id, one.said, one.word.who, one.word.why) for one in profile.rejected],
    )
    _table(
        "decisions",
        ("revision", "when", "what", "by", "why"),
        [
            (str(one.revision), when(one.word.at_us), one.action, one.word.who, one.word.why)
            for one in profile.history[-_FEW:]
        ],
    )


def _known_table(profile: Profile, everything: bool) -> None:
    rows: list[tuple[str, ...]] = [
        (one.id, f"{one.verdict} alerts from {one.value:.3f}", "", one.how, one.word.who, one.word.why)
        for one in profile.thresholds
    ]
    keys = sorted(profile.known, key=lambda one: (one.how != "accepted", -one.flows, one.key.id))
    shown = (
        keys
        if everything
        else [one for place, one in enumerate(keys) if one.how == "accepted" or place < _FEW]
    )
    rows += [
        (one.key.id, str(one.key), ", ".join(one.covers), one.how, one.word.who, one.word.why)
        for one in shown
    ]
    _table("known", ("id", "what", "no alert as", "how", "by", "why"), rows)
    _say_more(len(keys) - len(shown), "more keys were learnt silently")


def _proposals_table(profile: Profile, everything: bool) -> None:
    shown = [one for one in profile.proposals if everything or one.alerts or one.threshold is not None]
    rows: list[tuple[str, ...]] = []
    for one in shown:
        if one.threshold is not None:
            verdict, value = one.threshold
            what = f"{verdict} alerts from {value:.3f}, as if all {one.flows:,} flows were clean"
            rows.append((one.id, what, "", "", ""))
            continue
        alerts = ", ".join(f"{name} {count:,}" for name, count in one.verdicts.items())
        flows = f"{one.flows:,}" + (f", {one.failing:,} failing" if one.failing else "")
        rows.append((one.id, str(one.key), alerts, flows, ", ".join(one.peers)))
    _table("for you to accept or reject", ("id", "what", "alerts", "flows", "peers, some"), rows)
    _say_more(len(profile.proposals) - len(shown), "more that recur and raised no alert")


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    if not rows:
        return
    table = Table(*head, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        add_row(table, *row)
    say(f"\n{title}")
    console().print(table)


def _say_more(count: int, what: str) -> None:
    if count > 0:
        say(f"{count:,} {what}; --all shows them")
