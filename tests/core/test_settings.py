"""The environment is read once, strictly, and says what is wrong without showing a secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import Settings, markdown, variable


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({"PATH": "/bin"}) == Settings()


def test_values_are_parsed_by_their_kind() -> None:
    settings = Settings.from_environment(
        {
            "AUTODEEP_KAFKA_SERVERS": "a:1,b:2",
            "AUTODEEP_PUBLISH_CLASSIFIED": "yes",
            "AUTODEEP_WINDOW_IDLE_S": "2.5",
            "AUTODEEP_CHUNK_MAX_RECORDS": "512",
        }
    )
    assert settings.kafka_servers == "a:1,b:2"
    assert settings.publish_classified is True
    assert (settings.window_idle_s, settings.chunk_max_records) == (2.5, 512)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AUTODEEP_WINDOW_IDLE_S", "soon", "'soon' cannot be used"),
        ("AUTODEEP_WINDOW_IDLE_S", "nan", "at least 1"),
        ("AUTODEEP_WINDOW_IDLE_S", "inf", "at least 1"),
        ("AUTODEEP_CHUNK_MAX_RECORDS", "1", "at least 64"),
        ("AUTODEEP_OUTPUTS", "ecs,oscf", "some of ocsf, ecs, pagerduty"),
        ("AUTODEEP_ALERT_FORMAT", "xml", "one of auto, json, avro, single-object"),
        ("AUTODEEP_PUBLISH_CLASSIFIED", "perhaps", "true or false"),
        ("AUTODEEP_KAFKA_SERVER", "a:1", "no setting"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}.*{says}"):
        Settings.from_environment({name: value})


def test_a_value_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    settings = Settings.from_environment({"AUTODEEP_KAFKA_PASSWORD_FILE": str(file)})
    assert settings.kafka_password == "hunter2"
    with pytest.raises(SettingsError, match="both set"):
        Settings.from_environment({"AUTODEEP_KAFKA_PASSWORD_FILE": str(file), "AUTODEEP_KAFKA_PASSWORD": "x"})
    with pytest.raises(SettingsError, match="AUTODEEP_KAFKA_PASSWORD_FILE: cannot read"):
        Settings.from_environment({"AUTODEEP_KAFKA_PASSWORD_FILE": str(tmp_path / "none")})


def test_secrets_do_not_show_in_a_repr_or_in_the_table() -> None:
    settings = Settings.from_environment(
        {"AUTODEEP_KAFKA_PASSWORD": "hunter2", "AUTODEEP_REDIS_URL": "redis://u:hunter2@h"}
    )
    assert "hunter2" not in repr(settings)
    assert "AUTODEEP_KAFKA_PASSWORD" in markdown()


SERVICE_LINKS = {
    "AUTODEEP_ID_SERVICE_HOST": "10.0.0.7",
    "AUTODEEP_ID_SERVICE_PORT": "6066",
    "AUTODEEP_ID_SERVICE_PORT_HTTP": "6066",
    "AUTODEEP_ID_PORT": "tcp://10.0.0.7:6066",
    "AUTODEEP_ID_PORT_6066_TCP": "tcp://10.0.0.7:6066",
    "AUTODEEP_ID_PORT_6066_TCP_ADDR": "10.0.0.7",
    "AUTODEEP_ID_PORT_6066_TCP_PORT": "6066",
    "AUTODEEP_ID_PORT_6066_TCP_PROTO": "tcp",
    "AUTODEEP_ID_PORT_53_UDP": "udp://10.0.0.7:53",
    "AUTODEEP_PORT": "sctp://10.0.0.7:99",
    "AUTODEEP_SERVICE_HOST": "10.0.0.7",
    "AUTODEEP_WEB_PORT": "tcp://10.0.0.7:6066",  # of a Service autodeep-web
}


def test_links_to_a_service_of_kubernetes_are_passed_over_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert Settings.from_environment({**SERVICE_LINKS, "AUTODEEP_GROUP": "g"}) == Settings(group="g")
    (said,) = caplog.messages
    assert all(name in said for name in SERVICE_LINKS)


@pytest.mark.parametrize(
    "name",
    [
        "AUTODEEP_KAFKA_PORT",
        "AUTODEEP_WEBPORT",
        "AUTODEEP_SERVICE",
        "AUTODEEP_ID_PORT_6066",
        "AUTODEEP_DATAS",
    ],
)
def test_a_name_that_only_resembles_a_service_link_is_no_setting(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is no setting"):
        Settings.from_environment({name: "6066"})


@pytest.mark.parametrize(
    "field",
    [field for field in dataclasses.fields(Settings) if field.default != ""],
    ids=lambda one: one.name,
)
def test_a_setting_that_has_a_default_is_not_taken_empty(field: dataclasses.Field[object]) -> None:
    with pytest.raises(SettingsError, match=f"^{variable(field.name)} is empty; leave it unset"):
        Settings.from_environment({variable(field.name): " "})


def test_a_file_for_a_setting_is_named_and_holds_text(tmp_path: Path) -> None:
    for content, says in ((b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "no text in UTF-8")):
        (tmp_path / "value").write_bytes(content)
        with pytest.raises(SettingsError, match=rf"^AUTODEEP_KAFKA_PASSWORD_FILE: .*{says}"):
            Settings.from_environment({"AUTODEEP_KAFKA_PASSWORD_FILE": str(tmp_path / "value")})
    with pytest.raises(SettingsError, match=r"^AUTODEEP_KAFKA_PASSWORD_FILE names no file"):
        Settings.from_environment({"AUTODEEP_KAFKA_PASSWORD_FILE": ""})


NUMBERS = [
    variable(field.name)
    for field in dataclasses.fields(Settings)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTODEEP_WEB_PORT", "99999"),
        ("AUTODEEP_WEB_PORT", "-1"),
        ("AUTODEEP_TOPIC_PREFIX", "ids/a"),
        ("AUTODEEP_TOPIC_PREFIX", "i\nds"),
        ("AUTODEEP_TOPIC_PREFIX", "i" * 201),
        ("AUTODEEP_GROUP", "\udc80"),  # a byte of the environment that is no UTF-8
        ("AUTODEEP_GROUP", "a\nb"),
        ("AUTODEEP_KAFKA_PASSWORD", "a\x00b"),
        *(
            ("AUTODEEP_KAFKA_SERVERS", servers)
            for servers in (
                "kafka",
                "kafka:abc",
                "kafka:",
                "kafka:0",
                "kafka:65536",
                "a:1,",
                ",",
                "a b:1",
                "http://kafka:9092",
                "::1:9",
            )
        ),
        ("AUTODEEP_SCHEMA_REGISTRY_URL", "registry:8081"),
        ("AUTODEEP_SCHEMA_REGISTRY_URL", "ftp://registry"),
        ("AUTODEEP_KAFKA_OAUTH_TOKEN_URL", "oidc.example/token"),
        *((name, number) for name in NUMBERS for number in ("1e300", "9" * 30, "9" * 5000, "nan")),
    ],
)
def test_what_kafka_or_the_system_would_refuse_is_refused_as_a_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: .* cannot be used"):
        Settings.from_environment({name: value})


@pytest.mark.parametrize("value", ["user:S3CRET@host:1/x", "redis://u:S3/CRET@h:1", "http://u:S3/CRET@h"])
def test_no_setting_that_is_refused_shows_a_password_that_stands_where_it_should_not(value: str) -> None:
    refused = {field.name: said for field in dataclasses.fields(Settings) if (said := refusal(field, value))}
    assert len(refused) > 40
    assert not [name for name, said in refused.items() if "S3" in said]


def refusal(field: dataclasses.Field[object], value: str) -> str:
    """What is said of a setting's value; nothing where it is taken."""
    try:
        Settings.from_environment({variable(field.name): value})
    except SettingsError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("servers", ["a:1", "a.b-c_d:9092,[fe80::1%eth0]:9,10.0.0.7:65535"])
def test_servers_are_taken_as_they_are(servers: str) -> None:
    assert Settings.from_environment({"AUTODEEP_KAFKA_SERVERS": servers}).kafka_servers == servers


def test_blanks_and_line_ends_around_a_value_are_no_part_of_it() -> None:
    """`echo secret | base64` in a manifest gives a line end, too."""
    found = Settings.from_environment(
        {
            "AUTODEEP_KAFKA_PASSWORD": "hunter 2\n",
            "AUTODEEP_KAFKA_SERVERS": " a:1, b:2 ",
            "AUTODEEP_KAFKA_SECURITY": "SSL ",
            "AUTODEEP_SCHEMA_REGISTRY_URL": " ",
        }
    )
    assert found == Settings(kafka_password="hunter 2", kafka_servers="a:1,b:2", kafka_security="SSL")


@pytest.mark.parametrize("url", ["https://u:hunt/er@h/x", "https://u:hunt#er@h", "https://u:hunt?er@h"])
def test_a_url_whose_password_ends_its_host_is_refused_and_not_shown(url: str) -> None:
    """What would be shown of it as a path is a part of the password."""
    for name in ("AUTODEEP_SCHEMA_REGISTRY_URL", "AUTODEEP_MODEL_STORE", "AUTODEEP_KAFKA_OAUTH_TOKEN_URL"):
        with pytest.raises(SettingsError, match=r"%2F") as caught:
            Settings.from_environment({name: url})
        assert "hunt" not in str(caught.value)
