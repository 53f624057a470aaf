"""`autodeep data fetch`: data sets from their publishers, or from copies that are here already."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="Fetch data sets; none of them comes with the project.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def fetch(
    name: str = typer.Argument(help="kdd99 or nsl-kdd"),
    copies: Path | None = typer.Option(None, "--from", help="Take local copies, plain or gzip, from here."),
    to: Path = typer.Option(
        Path("data"), envvar="AUTODEEP_DATA", help="Folder that the set's folder goes to."
    ),
    timeout_s: float = typer.Option(
        30.0, min=0.1, max=3600.0, help="Seconds to wait for the server's next bytes."
    ),
) -> None:
    """Put a data set into DATA/NAME and check that it is the published one. A broken download is resumed.

    Example:

        autodeep data fetch kdd99
        autodeep data fetch nsl-kdd --from ~/Downloads

    Exit codes: 2 a file is missing or not the published one, 69 the server does not answer.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from streams.errors import DataError
    from streams.training import sources

    if name not in sources.DATA_SETS:
        raise DataError(f"{name!r} is no data set; there are {', '.join(sources.DATA_SETS)}")
    found = sources.DATA_SETS[name]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        for file in found.files:
            target = to / name / file.name
            if target.is_file():
                sources.verify(target, file)
                console.print(f"{target} is here and is the published one")
            elif copies is not None:
                sources.copy(sources.find(copies, found, file), target, file)
                console.print(f"{target} copied and checked")
            elif not file.url:
                raise DataError(
                    f"{name} is handed out by its publisher on request ({found.licence}); give the folder "
                    f"with {file.name} as --from"
                )
            else:
                task = progress.add_task(file.name, total=None)
                sources.download(
                    file,
                    target,
                    timeout_s,
                    lambda here, whole, task=task: progress.update(task, completed=here, total=whole),  # type: ignore[misc]
                )
                console.print(f"{target} fetched and checked")
    console.print(f"Licence: {found.licence}")
