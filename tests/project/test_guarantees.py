"""docs/guarantees.md names a test or a bench for every claim, and every one that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
BENCHES = re.findall(r"python -m bench (\w+)", PAGE)


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_named_in_the_guarantees_exists() -> None:
    assert len(NAMED) > 20
    absent = [f"{file}::{name}" for file, name in NAMED if name not in functions(ROOT / file)]
    assert absent == []


def test_every_bench_named_in_the_guarantees_is_a_command() -> None:
    assert BENCHES
    assert set(BENCHES) <= functions(ROOT / "bench" / "__main__.py")


def test_every_claim_names_what_shows_it() -> None:
    """Each row of a table has a mechanism and a test or a bench in its last column."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    claims = [row for row in rows if not row.startswith(("| promise", "| fault"))]
    assert len(claims) > 15
    for row in claims:
        assert re.search(r"`tests/[\w/]+\.py::\w+`|`bench [a-z-]+`", row.split("|")[-2]), row


def test_the_faults_of_the_guarantees_are_those_of_the_bench() -> None:
    from bench.faults.schedules import Kind

    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.M)) == {str(kind) for kind in Kind}
