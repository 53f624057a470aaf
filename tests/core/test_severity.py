"""Severities: by class, one lower where the model is not sure, and as a deployment changes them."""

from __future__ import annotations

import pytest

from streams.core.severity import BY_CLASS, Severity, severities_by_class, severity_of
from streams.errors import SettingsError


@pytest.mark.parametrize(
    ("verdict", "scores", "severity"),
    [
        ("dos", {"dos": 0.8}, Severity.HIGH),
        ("dos", {"dos": 0.7999}, Severity.MEDIUM),
        ("u2r", {"u2r": 1.0}, Severity.CRITICAL),
        ("novel", {"dos": 0.4}, Severity.MEDIUM),
        ("another", {"another": 0.1}, Severity.LOW),
        ("normal", {}, Severity.MEDIUM),
    ],
)
def test_a_severity_follows_from_class_and_posterior(
    verdict: str, scores: dict[str, float], severity: Severity
) -> None:
    assert severity_of(verdict, scores) is severity


def test_nothing_is_lower_than_informational() -> None:
    by_class = severities_by_class("probe=informational")
    assert severity_of("probe", {"probe": 0.1}, by_class) is Severity.INFORMATIONAL


def test_each_severity_has_its_word() -> None:
    assert [one.word for one in Severity] == ["informational", "low", "medium", "high", "critical"]


def test_a_deployment_changes_some_classes_and_the_others_stay() -> None:
    assert severities_by_class("") == BY_CLASS
    changed = severities_by_class(" probe=low, DOS = Critical ,")
    assert changed == {**BY_CLASS, "probe": Severity.LOW, "dos": Severity.CRITICAL}


@pytest.mark.parametrize(
    "change", ["prob=low", "probe=lo", "probe", "probe=", "=low", "probe=2", "normal=low"]
)
def test_a_wrong_word_is_refused_with_those_that_are_right(change: str) -> None:
    with pytest.raises(SettingsError, match=r"u2r, dos, r2l, c2, probe, novel.*informational, low") as caught:
        severities_by_class(f"dos=low,{change}")
    assert repr(change) in str(caught.value)
