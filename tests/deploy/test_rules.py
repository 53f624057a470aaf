"""Prometheus's rules: promtool takes them, each fires where it must alone, and has its section."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from streams.codec.models import ModelRef
from streams.pipeline.incidents import IncidentFigures
from streams.worker.health import Health
from streams.worker.metrics import exposition
from tests.deploy.prometheus import program

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "prometheus"
RULES_FILE: Final = FOLDER / "autodeep.rules.yaml"
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
TESTS: Final = sorted((FOLDER / "tests").glob("*.yaml"))
EXPECTED: Final[list[dict[str, Any]]] = [
    expected
    for path in TESTS
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    for expected in test["alert_rule_test"]
]


def promtool(*words: str | Path) -> str:
    done = subprocess.run(
        [program("promtool"), *words], capture_output=True, text=True, check=False, timeout=60, cwd=FOLDER
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules_and_the_settings_of_the_composition() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", RULES_FILE)
    promtool("check", "config", FOLDER / "prometheus.yml")


def test_every_unit_test_of_the_rules_holds() -> None:
    assert promtool("test", "rules", *TESTS).count("SUCCESS") == len(TESTS)


@pytest.mark.parametrize("name", [rule["alert"] for rule in RULES])
def test_each_alert_is_seen_to_fire_and_not_to_fire(name: str) -> None:
    fires = [bool(one.get("exp_alerts")) for one in EXPECTED if one["alertname"] == name]
    assert {True, False} <= set(fires)


def test_each_alert_says_what_it_is_and_where_it_stands_what_to_do() -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    anchors = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", page, re.M)}
    for rule in RULES:
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "description", "runbook_url"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        document, _, anchor = annotations["runbook_url"].partition("#")
        assert document == "docs/operating.md"
        assert anchor == rule["alert"].lower()
        assert anchor in anchors, f"docs/operating.md has no section {rule['alert']}"
    described = set(re.findall(r"^### (Autodeep\w+)$", page, re.M))
    assert described == {rule["alert"] for rule in RULES}


def test_every_metric_that_a_rule_names_is_one_that_workers_have_and_the_table_describes() -> None:
    named = set(re.findall(r"autodeep_\w+", " ".join(rule["expr"] for rule in RULES)))
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    described = set(
        re.findall(r"`([a-z_]+)`", page.partition("beside them stand")[2].partition("\n\nNo metric")[0])
    )
    for metric in named:
        assert metric.removeprefix("autodeep_").removesuffix("_bucket") in described, metric
    text = exposition(Health(), Absent(), lambda: [ModelRef("m", "1", "ab")])().decode()
    told = {family.name for family in text_string_to_metric_families(text)}
    always = named - {
        name for name in named if "redis_evict" in name or "drift" in name or name.endswith("_info")
    }
    assert {re.sub("_total$|_bucket$", "", name) for name in always} <= told


class Absent:
    """A detection that has done nothing."""

    cache_figures: Any = type("Cache", (), {"hits": 0, "misses": 0, "devices": 0, "capacity": 0})
    incident_figures = IncidentFigures({}, 0)
    recovered: Any = type("Recovered", (), {"rebuilds": 0, "windows": 0})
