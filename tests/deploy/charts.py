"""Renders the chart with Helm itself."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.conftest import absent
from tests.deploy.chart_schema import CHART

SETS: Final = tuple(sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*.yaml")))
NO_HELM: Final = "no helm on the PATH: `.ci/charts FOLDER` fetches one"

Document = dict[str, Any]


def helm(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("helm")
    if program is None:
        absent(NO_HELM)
    return subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False, timeout=60
    )


@functools.cache
def rendered(name: str) -> tuple[Document, ...]:
    """The documents of one of the value sets in the chart's folder `ci`. Not to be changed."""
    return _documents(CHART, ["--values", str(CHART / "ci" / f"{name}-values.yaml")])


def rendering(values: Mapping[str, Any], chart: Path = CHART) -> tuple[Document, ...]:
    return _documents(chart, ["--values", "-"], json.dumps(values))


def refusal(values: Mapping[str, Any]) -> list[str]:
    """The lines with which Helm refuses these values."""
    done = _template(CHART, ["--values", "-"], json.dumps(values))
    assert done.returncode != 0, "nothing was refused"
    return [line for line in done.stderr.splitlines() if line]


def one(documents: Sequence[Document], kind: str) -> Document:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def _documents(chart: Path, arguments: Sequence[str], given: str | None = None) -> tuple[Document, ...]:
    done = _template(chart, arguments, given)
    assert done.returncode == 0, done.stderr
    return tuple(document for document in yaml.safe_load_all(done.stdout) if document)


def _template(chart: Path, arguments: Sequence[str], given: str | None) -> subprocess.CompletedProcess[str]:
    # A Helm that was built without its release's flags takes the oldest Kubernetes for granted.
    version = ("--kube-version", "1.34.0")
    return helm("template", "fleet", str(chart), "--namespace", "ids", *version, *arguments, given=given)
