"""Topics and users for Strimzi say what `topics create` makes and what the table of rights has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from streams.adapters.kafka.strimzi import as_yaml, resource_name
from streams.adapters.kafka.topics import topic_specs
from streams.cli.commands import app
from streams.core.topics import Topics
from streams.settings import Settings
from tests.adapters.test_secured import least_rights
from tests.path import TestedPath

RENDERED = Path(__file__).parents[2] / "deploy" / "strimzi" / "topics-and-users.yaml"
KINDS = {"topic": "TOPIC", "group": "GROUP", "transactionalId": "TRANSACTIONAL_ID"}


def printed(*options: str, **environment: str) -> str:
    done = CliRunner().invoke(app, ["topics", "strimzi", *options], env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


def resources(kind: str, *options: str, **environment: str) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load_all(printed(*options, **environment))
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def test_the_file_in_the_repository_is_what_the_command_prints_now() -> None:
    again = "autodeep topics strimzi > deploy/strimzi/topics-and-users.yaml"
    assert RENDERED.read_text(encoding="utf-8") == printed(), f"make it anew: {again}"


def test_topics_are_those_that_topics_create_makes() -> None:
    topics = resources("KafkaTopic", "--partitions", "24", "--replication", "2")
    specs = {spec.name: spec for spec in topic_specs(Topics(), 24)}
    assert topics.keys() == specs.keys()
    for name, spec in specs.items():
        found = topics[name]["spec"]
        config = {key: str(value) for key, value in found.pop("config").items()}
        assert found == {"partitions": spec.partitions, "replicas": 2}
        assert config == dict(spec.config)
    three = resources("KafkaTopic")["ids.telemetry"]["spec"]
    assert three["config"]["min.insync.replicas"] == 2  # as `topics create` adds it to three copies


def test_a_worker_may_do_what_the_tested_least_rights_are_and_no_more() -> None:
    environment = {"AUTODEEP_PUBLISH_CLASSIFIED": "true", "AUTODEEP_GROUP": "workers"}
    acls = resources("KafkaUser", **environment)["autodeep-worker"]["spec"]["authorization"]["acls"]
    given = {
        (KINDS[acl["resource"]["type"]], acl["resource"]["name"], acl["resource"]["patternType"], operation)
        for acl in acls
        for operation in acl["operations"]
    }
    settings = Settings.from_environment(environment)
    tested = cast(TestedPath, SimpleNamespace(settings=settings, topics=Topics()))
    patterns = {"LITERAL": "literal", "PREFIXED": "prefix"}
    assert given == {
        (
            right.restype.name,
            right.name,
            patterns[right.resource_pattern_type.name],
            right.operation.name.title(),
        )
        for right in least_rights(tested)
    }


def test_a_gateway_may_only_send() -> None:
    acls = resources("KafkaUser")["autodeep-gateway"]["spec"]["authorization"]["acls"]
    assert {acl["resource"]["name"] for acl in acls} == {"ids.telemetry", "ids.sensors"}
    assert all(acl["operations"] == ["Write"] for acl in acls)


def test_the_cluster_and_the_log_in_are_those_asked_for() -> None:
    found = resources("KafkaUser", "--cluster", "mine", "--authentication", "tls").values()
    assert {one["metadata"]["labels"]["strimzi.io/cluster"] for one in found} == {"mine"}
    assert {one["spec"]["authentication"]["type"] for one in found} == {"tls"}
    refused = CliRunner().invoke(app, ["topics", "strimzi", "--authentication", "plain"])
    assert "expected scram-sha-512 or tls" in str(refused.exception)


def test_a_topic_that_kubernetes_takes_no_name_from_keeps_its_own() -> None:
    topics = resources("KafkaTopic", AUTODEEP_TOPIC_PREFIX="Plant_7")
    assert topics["plant-7.telemetry"]["spec"]["topicName"] == "Plant_7.telemetry"
    assert resource_name("ids.telemetry") == "ids.telemetry"


scalars = st.one_of(st.integers(), st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
values = st.dictionaries(
    st.text("abcXYZ.-_019: #yesno", min_size=1),
    st.one_of(
        scalars,
        st.lists(scalars, min_size=1),
        st.dictionaries(st.sampled_from("abc"), scalars, min_size=1),
        st.lists(st.dictionaries(st.sampled_from("abc"), scalars, min_size=1), min_size=1),
    ),
    min_size=1,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(values, min_size=1, max_size=3))
def test_what_is_printed_is_read_back_as_it_was(documents: list[dict[str, Any]]) -> None:
    assert list(yaml.safe_load_all(as_yaml(documents))) == documents


@pytest.mark.parametrize("text", ["yes", "NULL", "1e3", "0x1f", "- a", "a: b", "", "2026-01-01", "~", "\x7f"])
def test_what_yaml_would_take_for_something_else_is_quoted(text: str) -> None:
    assert yaml.safe_load(as_yaml([{"key": text}])) == {"key": text}
