"""The chart's values: all of them are described, every setting is reached, and what is wrong is refused."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.settings import Settings
from tests.deploy.chart_schema import (
    CHART,
    FIELDS,
    FILES,
    FOLDERS,
    IN_A_SECRET,
    OF_THE_CHART,
    SCHEMA,
    limits,
    written,
)
from tests.deploy.charts import one, refusal, rendering
from tests.deploy.judging import pods, settings_of

SCHEMA_OF_VALUES = json.loads(SCHEMA.read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
OPEN = {"claims", "supplementalGroups", "fsGroupChangePolicy", "name", "kind"}
"""What Kubernetes has beside the defaults."""


def test_every_value_has_a_default_and_every_default_is_allowed() -> None:
    def same(schema: dict[str, Any], values: dict[str, Any]) -> None:
        assert schema["additionalProperties"] is False
        assert schema["properties"].keys() - {"global"} == values.keys() | (
            schema["properties"].keys() & OPEN
        )
        for key, inner in schema["properties"].items():
            if inner.get("properties") and isinstance(values.get(key), dict):
                same(inner, values[key])

    same(SCHEMA_OF_VALUES, VALUES)
    jsonschema.validate(VALUES, SCHEMA_OF_VALUES)


def test_the_schema_names_the_settings_that_there_are() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == written(), (
        "make it anew: python -m tests.deploy.chart_schema"
    )


def sample(name: str) -> Any:
    """A value that is not the default, as far as one is known."""
    field = FIELDS[name]
    if name in OF_THE_CHART:
        return {"AUTODEEP_WEB_BIND": "::", "AUTODEEP_WEB_PORT": 7000}.get(name, "redis://elsewhere")
    read, known = limits(name)
    if read == "one_of":
        return known["choices"][-1]
    if isinstance(field.default, bool):
        return not field.default
    if read == "at_least":
        large = max(int(known["least"]), 1) * (2_000_000 if known["kind"] is int else 1)
        return min(large, int(known["most"]))
    if isinstance(field.default, str) and read != "str":
        return field.default  # text of a form that this test does not know
    return 0.25 if isinstance(field.default, float) else "a$(PATH)"


def test_every_setting_reaches_a_worker_by_settings_secrets_or_files() -> None:
    secret = {name for name, field in FIELDS.items() if field.metadata["secret"]} - OF_THE_CHART.keys()
    plain = {name: sample(name) for name in FIELDS.keys() - secret - FILES}
    plain["AUTODEEP_TOPIC_PREFIX"] = "plant-7"
    places = {
        name: {"configMap": "c"} if name in FOLDERS else {"secret": "s", "key": name.lower()}
        for name in FILES
    }
    values = {
        "settings": plain,
        "secrets": {name: {"name": "s", "key": name} for name in secret},
        "files": places,
    }
    (spec,) = (spec for _, spec in pods([one(rendering(values), "Deployment")]))
    found = settings_of(spec)
    for name, field in FIELDS.items():
        value = getattr(found, field.name)
        if name in plain:
            assert value == plain[name] or value == str(plain[name]).replace("$(", "$$("), name
        elif name in secret:
            assert value == "x"
        else:
            assert (
                value == "/etc/autodeep/configmap/c"
                if name in FOLDERS
                else f"/etc/autodeep/secret/s/{name.lower()}"
            )


def test_settings_by_secrets_alone_reach_a_worker_too() -> None:
    name = "AUTODEEP_KAFKA_USERNAME"
    (spec,) = (
        spec
        for _, spec in pods([one(rendering({"secrets": {name: {"name": "s", "key": "k"}}}), "Deployment")])
    )
    assert settings_of(spec, {name: "worker"}).kafka_username == "worker"
    jsonschema.validate({"secrets": {name: {"name": "s", "key": "k"} for name in FIELDS}}, SCHEMA_OF_VALUES)


def takes(name: str, value: Any) -> bool:
    return jsonschema.Draft7Validator(SCHEMA_OF_VALUES).is_valid({"settings": {name: value}})


numbers = st.one_of(st.integers(-5, 10**7), st.floats(-5, 1e7, allow_nan=False))


@settings(deadline=None)
@given(
    st.sampled_from(sorted(FIELDS)),
    st.one_of(numbers, st.booleans(), st.sampled_from(["", "SSL", "lz4", "json", "PLAIN", "tls", "a b"])),
)
def test_a_value_that_the_schema_takes_is_one_that_a_worker_takes(name: str, value: Any) -> None:
    if takes(name, value):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, float) and value.is_integer():
            text = str(int(value))  # as Helm writes it
        text = text or "x"  # an empty one is refused by a worker where it has a default
        try:
            Settings.from_environment({name: text})
        except SettingsError:
            of_schema = SCHEMA_OF_VALUES["definitions"]["settings"]["properties"][name]
            assert of_schema == {"type": "string"}  # text of a form that a worker looks at


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_value_that_no_worker_takes_is_refused_by_the_schema(name: str) -> None:
    read, known = limits(name)
    if read == "one_of":
        assert all(takes(name, choice) for choice in known["choices"])
        assert not takes(name, "nonsense")
    elif read == "at_least" and name not in OF_THE_CHART:
        least = known["kind"](known["least"])
        assert takes(name, least)
        assert not takes(name, least - 1)
        assert not takes(name, "25")
    elif isinstance(FIELDS[name].default, bool):
        assert not takes(name, "true")
    elif FIELDS[name].metadata["secret"] and name != "AUTODEEP_REDIS_URL":
        assert not takes(name, "pa55word")


SASL = {"AUTODEEP_KAFKA_SECURITY": "SASL_SSL", "AUTODEEP_KAFKA_USERNAME": "u"}
MSK = SASL | {"AUTODEEP_KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"}
FLIPPED = {"enabled": True, "minReplicas": 3, "maxReplicas": 2}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AUTODEEP_KAFKA_SERVER", "kafka:9092", "additional properties 'AUTODEEP_KAFKA_SERVER' not allowed"),
        ("AUTODEEP_KAFKA_SECURITY", "TLS", "value must be one of 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT'"),
        ("AUTODEEP_KAFKA_PASSWORD", "pa55word", f"value must be '{IN_A_SECRET}'"),
        ("AUTODEEP_REDIS_URL", "redis://:pa55word@redis", "does not match pattern '^[a-z+]+://[^@]*$'"),
        ("AUTODEEP_WEB_BIND", "127.0.0.1", "value must be one of '0.0.0.0', '::'"),
        ("AUTODEEP_LINGER_MS", "75", "got string, want number"),
        ("AUTODEEP_CHUNK_MAX_RECORDS", 63, "minimum: got 63, want 64"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_line_that_names_it(name: str, value: Any, says: str) -> None:
    lines = [line for line in refusal({"settings": {name: value}}) if "'/settings" in line]
    assert len(lines) == 1
    assert name in lines[0]
    assert says in lines[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        (
            {"secrets": {"AUTODEEP_REDIS_URL": {"name": "s"}}},
            "'/secrets/AUTODEEP_REDIS_URL': missing property",
        ),
        (
            {"files": {"AUTODEEP_GROUP": {"secret": "s"}}},
            "additional properties 'AUTODEEP_GROUP' not allowed",
        ),
        ({"extraEnv": [{"name": "AUTODEEP_GROUP", "value": "g"}]}, "'/extraEnv/0/name'"),
        ({"keda": {"enabled": True, "minReplicas": 0}}, "'/keda/minReplicas': minimum: got 0, want 1"),
        ({"settings": SASL}, "name the Secret of the password under secrets.AUTODEEP_KAFKA_PASSWORD"),
        ({"networkPolicy": {"enabled": True}}, "networkPolicy.egress"),
        ({"prometheusRule": {"enabled": True}}, "prometheusRule.rules"),
        ({"keda": FLIPPED}, "keda.maxReplicas 2 is less than keda.minReplicas 3"),
        ({"keda": {"enabled": True}, "settings": MSK}, "name it in keda.authenticationRef"),
    ],
)
def test_wrong_values_are_refused_with_a_line_that_names_them(values: dict[str, Any], says: str) -> None:
    lines = refusal(values)
    assert len([line for line in lines if says in line]) == 1, lines
