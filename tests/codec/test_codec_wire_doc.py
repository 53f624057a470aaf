"""docs/wire.md is true: its programs run as printed, and its table names every reason."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.output.alerts import encode_alert
from streams.core.events import Reason
from streams.core.kdd99 import KDD99
from tests.codec.test_codec_alerts import ALERT
from tests.codec_samples import Raw

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")


def program(containing: str) -> str:
    [code] = [code for code in re.findall(r"```python\n(.*?)```", TEXT, re.S) if containing in code]
    return str(code)


class Stop(Exception):
    pass


def run(code: str, monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    """Run a printed program at the repository's root with a fake Kafka client."""
    fake = types.ModuleType("confluent_kafka")
    for name, value in names.items():
        setattr(fake, name, value)
    monkeypatch.setitem(sys.modules, "confluent_kafka", fake)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "docs/wire.md", "exec"), {})


def test_what_the_printed_producer_sends_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, bytes, bytes]] = []

    class Producer:
        def __init__(self, config: dict[str, str]) -> None: ...
        def flush(self) -> None: ...
        def produce(self, topic: str, key: bytes, value: bytes) -> None:
            sent.append((topic, key, value))

    run(program("Producer"), monkeypatch, Producer=Producer)
    [(topic, key, value)] = sent
    decoded = TelemetryDecoder(KDD99).decode([Raw(0, key, value)])
    assert (topic, decoded.rejected, decoded.events.device_id) == ("ids.telemetry", (), ["camera-17"])


@pytest.mark.parametrize("schema_id", [None, 3])
def test_the_printed_consumer_reads_an_alert(
    schema_id: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [encode_alert(ALERT, "avro", schema_id)]

    class Message:
        def __init__(self, value: bytes) -> None:
            self._value = value

        def value(self) -> bytes:
            return self._value

        def error(self) -> None: ...

    class Consumer:
        def __init__(self, config: dict[str, str]) -> None: ...
        def subscribe(self, topics: list[str]) -> None: ...
        def poll(self, timeout_s: float) -> Message:
            if not values:
                raise Stop
            return Message(values.pop())

    with pytest.raises(Stop):
        run(program("Consumer"), monkeypatch, Consumer=Consumer)
    assert capsys.readouterr().out == f"{ALERT.device_id} {ALERT.verdict} {dict(ALERT.scores)}\n"


def test_every_reason_is_described() -> None:
    assert [reason for reason in Reason if f"`{reason}`" not in TEXT] == []
