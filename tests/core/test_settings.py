"""The environment is read once, strictly, and says what is wrong without showing a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import Settings, markdown


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
        ("AUTODEEP_ALERT_FORMAT", "xml", "one of avro, json"),
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
