"""`autodeep models`: what a model store holds."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Look into a model store.")

_STORE = typer.Option(
    "", "--store", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL; empty: the shipped models."
)


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

    from rich.console import Console
    from rich.table import Table

    from streams.store import open_store

    entries = open_store(store).entries()
    if as_json:
        found = [
            {
                "name": entry.name,
                "version": entry.version,
                "aliases": entry.aliases,
                "problem": entry.problem or None,
                "metrics": entry.manifest.get("metrics"),
            }
            for entry in entries
        ]
        typer.echo(json.dumps({"models": found}))
        return
    table = Table("model", "aliases", "classes", "window", "test accuracy", "test cost", "problem")
    for entry in entries:
        test = entry.manifest.get("metrics", {}).get("test", {}).get("all_rows", {})
        table.add_row(
            f"{entry.name}/{entry.version}",
            ", ".join(entry.aliases),
            ", ".join(entry.manifest.get("classes", ())),
            str(entry.manifest.get("architecture", {}).get("window", "")),
            f"{test['accuracy']:.2%}" if test else "",
            f"{test['cost']:.4f}" if test else "",
            entry.problem,
        )
    Console().print(table)


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

    from streams.store import open_store

    manifest, card = open_store(store).describe(ref)
    if as_json:
        typer.echo(json.dumps(manifest))
    else:
        Console().print(Markdown(card))


@app.command()
def verify(
    ref: str = typer.Argument(help="name@alias or name/version"),
    store: str = _STORE,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Load one version as a worker would: digests, tensors, golden vectors. Example:

        autodeep models verify kdd99@champion

    Exit code 3 where it is refused; the message names the file.
    """
    import dataclasses
    import json

    from streams.store import open_store

    identity = open_store(store).load(ref).identity
    if as_json:
        typer.echo(json.dumps({"ok": True, **dataclasses.asdict(identity)}))
    else:
        typer.echo(f"{identity.name}/{identity.version} is sound (manifest sha256 {identity.digest})")
