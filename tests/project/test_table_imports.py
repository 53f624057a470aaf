"""Which modules may name KDD'99's feature table: those that put a program together. Others are given one."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "streams"
MAY = (
    "core/known_tables.py",  # what a model may name
    "worker/served.py",
    "core/flow/kdd.py",  # a projection of flows to its columns
    "client/flow_kdd.py",
    "doctor/examine.py",
    "client/checking.py",  # its test device speaks of connections
    "cli/",
    "demo/",
)


def names_kdd99(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module, names = node.module or "", [alias.name for alias in node.names]
            if module == "streams.core.kdd99" or (module == "streams.core" and "kdd99" in names):
                return True
        elif isinstance(node, ast.Import) and any(one.name == "streams.core.kdd99" for one in node.names):
            return True
    return False


def test_only_what_puts_a_program_together_names_kdd99s_table() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if names_kdd99(path)}
    assert [one for one in sorted(found) if not one.startswith(MAY)] == []
    assert "worker/served.py" in found, "the search finds what it is for"
