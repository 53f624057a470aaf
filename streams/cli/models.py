"""`autodeep models`: what a model store holds, and what goes in. Others, as promote, are in models_*.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.models_active import active
from streams.cli.models_challenge import canary, dismiss, report, shadow
from streams.cli.models_orders import promote, rollback
from streams.cli.models_release import release
from streams.legible import shortened

if TYPE_CHECKING:
    from streams.adapters.store.models import Entry

app = typer.Typer(no_args_is_help=True, help="The model store, and which model serves.")

_STORE = typer.Option(
    "", "--store", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL; empty: the shipped models."
)
_TRUST_KEY = typer.Option(
    "",
    "--trust-key",
    envvar="AUTODEEP_MODEL_TRUST_KEY",
    help="PEM file of an Ed25519 public key: refuse what it did not sign. Empty: not asked.",
)
_JSON = typer.Option(False, "--json", help="Print one JSON object.")

for _command in (active, promote, rollback, shadow, canary, dismiss, report, release):
    app.command()(_command)


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_models(
    store: str = _STORE, as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")
) -> None:
    """Every version in the store, with its aliases and its figures. Example:

    autodeep models list --json
    """
    import json

    from rich.table import Table

    from streams.adapters.store.models import open_store
    from streams.cli.output import add_row, console

    entries = open_store(store).entries()
    if as_json:
        found = [
            {
                "name": entry.name,
                "version": entry.version,
                "aliases": entry.aliases,
                "retired": entry.retired,
                "problem": entry.problem or None,
                "metrics": entry.manifest.get("metrics"),
            }
            for entry in entries
        ]
        typer.echo(json.dumps({"models": found}))
        return
    head = ("model", "aliases", "classes", "window", "test accuracy", "test cost", "problem")
    table = Table(*head, box=None, pad_edge=False, header_style="dim")
    for entry in entries:
        marks = ", ".join((*entry.aliases, *(("retired",) if entry.retired else ())))
        add_row(table, f"{entry.name}/{entry.version}", marks, *_told(entry))
    console().print(table)


def _told(entry: Entry) -> tuple[str, ...]:
    """What a manifest says of itself. It may be anybody's: one that says it oddly is a problem of its own."""
    manifest = entry.manifest
    try:
        test = manifest.get("metrics", {}).get("test", {}).get("all_rows", {})
        return (
            ", ".join(manifest.get("classes", ())),
            str(manifest.get("architecture", {}).get("window", "")),
            f"{test['accuracy']:.2%}" if test else "",
            f"{test['cost']:.4f}" if test else "",
            entry.problem,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        return "", "", "", "", entry.problem or f"its manifest's classes or figures are odd: {exc!r}"


@app.command()
def show(
    ref: str = typer.Argument(help="name@alias or name/version"),
    store: str = _STORE,
    as_json: bool = typer.Option(False, "--json", help="Print the manifest."),
) -> None:
    """The model card of one version; with --json its manifest. Example:

    autodeep models show kdd99@champion
    """
    import json

    from rich.console import Console
    from rich.markdown import Markdown

    from streams.adapters.store.models import open_store
    from streams.legible import lines

    manifest, card = open_store(store).describe(ref)
    if as_json:
        typer.echo(json.dumps(manifest))
    else:
        Console().print(Markdown(lines(card)))


@app.command()
def verify(
    ref: str = typer.Argument(help="name@alias or name/version"),
    store: str = _STORE,
    trust_key: str = _TRUST_KEY,
    as_json: bool = _JSON,
) -> None:
    """Load one version as a worker would: signature, digests, tensors, golden vectors. Example:

        autodeep models verify kdd99@champion

    Exit code 3 where it is refused; the message names the file.
    """
    import dataclasses
    import json

    from streams.adapters.store.models import open_store

    identity = open_store(store, trust_key).load(ref).identity
    if as_json:
        signed = True if trust_key else None
        typer.echo(json.dumps({"ok": True, "signature_checked": signed, **dataclasses.asdict(identity)}))
    else:
        signed_words = ", signed by the trust key" if trust_key else ""
        typer.echo(
            f"{identity.name}/{identity.version} is sound{signed_words} (manifest sha256 {identity.digest})"
        )


@app.command()
def diff(
    left: str = typer.Argument(metavar="A", help="name@alias or name/version"),
    right: str = typer.Argument(metavar="B", help="name@alias or name/version"),
    store: str = _STORE,
    as_json: bool = _JSON,
) -> None:
    """What two versions have otherwise: architecture, taxonomy, training plan, metrics. Example:

    autodeep models diff kdd99@champion kdd99/2
    """
    import json

    from rich.table import Column, Table

    from streams.adapters.store.models import open_store
    from streams.cli.output import add_row, console
    from streams.model.differences import differences

    opened = open_store(store)
    found = differences(opened.describe(left)[0], opened.describe(right)[0])
    if as_json:
        sections = {
            section: {key: {"a": a, "b": b} for key, (a, b) in changed.items()}
            for section, changed in found.items()
        }
        typer.echo(json.dumps({"a": left, "b": right, "differences": sections}))
        return
    if not found:
        typer.echo(f"{left} and {right} differ in nothing but their weights and golden vectors, if at all")
        return
    table = Table("section", Column("what", overflow="fold"), left, right)
    for section, changed in found.items():
        for key, (a, b) in changed.items():
            add_row(table, section, key, _shown(a, b), _shown(b, a))
    console().print(table)


def _shown(value: object, other: object) -> str:
    """One side of a difference; of long lists of names, those that the other side lacks."""
    if isinstance(value, list) and isinstance(other, list) and len(value) > 5:
        missing = [str(one) for one in value if one not in other]
        return f"{len(value)}, only here: {', '.join(missing) or 'none'}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else shortened(str(value))


@app.command()
def add(
    folder: str = typer.Argument(metavar="DIR", help="A version's folder, with its manifest.json."),
    store: str = _STORE,
    trust_key: str = _TRUST_KEY,
    as_json: bool = _JSON,
) -> None:
    """Verify a version's folder and copy it into the store, whole or not at all. Example:

        autodeep models add ./trained/kdd99/2 --store /srv/models

    Its manifest gives name and version. Exit code 3 where it is refused, or that version exists.
    """
    import dataclasses
    import json
    from pathlib import Path

    from streams.adapters.store.models import open_store

    opened = open_store(store, trust_key)
    identity = opened.add(Path(folder))
    if as_json:
        typer.echo(json.dumps({"added": True, "store": opened.url, **dataclasses.asdict(identity)}))
    else:
        typer.echo(
            f"added {identity.name}/{identity.version} to {opened.url} (manifest sha256 {identity.digest})"
        )


@app.command()
def sign(
    ref: str = typer.Argument(help="name@alias or name/version"),
    key: str = typer.Option(..., "--key", help="PEM file of an Ed25519 private key, unencrypted."),
    store: str = _STORE,
    as_json: bool = _JSON,
) -> None:
    """Write manifest.sig beside a version's manifest, after loading it. Example:

    autodeep models sign kdd99/2 --key release.pem --store /srv/models
    """
    import json

    from streams.adapters.store.models import open_store

    path = open_store(store).sign(ref, key)
    typer.echo(json.dumps({"signed": ref, "file": str(path)}) if as_json else f"signed {ref}: {path}")


@app.command()
def alias(
    ref: str = typer.Argument(help="name/version"),
    name: str = typer.Argument(metavar="ALIAS", help="such as champion"),
    store: str = _STORE,
    as_json: bool = _JSON,
) -> None:
    """Point an alias at a version. Workers ask it when they start and nothing was ever promoted. Example:

    autodeep models alias kdd99/2 champion --store /srv/models
    """
    import json

    from streams.adapters.store.models import open_store

    opened = open_store(store)
    model, version = opened.resolve(ref)
    opened.set_alias(model, name, version)
    said = {"name": model, "alias": name, "version": version}
    typer.echo(json.dumps(said) if as_json else f"{model}@{name} is {model}/{version}")


@app.command()
def retire(
    ref: str = typer.Argument(help="name/version"), store: str = _STORE, as_json: bool = _JSON
) -> None:
    """Mark a version as not to be promoted any more; its files stay. Example:

        autodeep models retire kdd99/1 --store /srv/models

    Kafka is asked what serves; where it does not answer, only the alias champion is looked at, and a line
    on stderr says so. Exit code 3 for the champion.
    """
    import json

    from streams.adapters.store.models import open_store
    from streams.cli.models_orders import active_states
    from streams.errors import ModelRejected

    opened = open_store(store)
    name, version = opened.resolve(ref)
    states = active_states()
    serving = None if states is None else states.get(name)
    if serving is not None and serving.champion.version == version:
        raise ModelRejected(f"{name}/{version}: serves now; promote another first")
    opened.retire(name, version)
    said = {"retired": f"{name}/{version}", "kafka_asked": states is not None}
    typer.echo(json.dumps(said) if as_json else f"retired {name}/{version}: it will not be promoted any more")
