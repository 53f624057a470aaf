"""What a topic does not take whole goes with less in it; what cannot be shortened is waited for."""

from __future__ import annotations

import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.output.alerts import AlertFormat, AlertOutput, decode_alert
from streams.codec.output.dead_letters import dead_letter, shorter
from streams.codec.output.sizes import wire_bytes
from streams.core.alerts import Alert, Driver, Explanation
from streams.core.events import Message, Reason, Rejected, Source
from streams.core.topics import Topics
from streams.errors import MessageTooLarge, Unavailable
from streams.pipeline.publishing import Part, publish
from tests.fakes_kafka import FakeKafkaPublisher

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
TOPICS = Topics()
LETTERS = TOPICS.dead_letters
DOS = TOPICS.alerts("dos")

ALERT = Alert(
    alert_id="d0ab9fdb-cb12-5e2b-be71-0d97eb6a6911", device_id="cam", event_time_us=1, detected_at_us=2,
    verdict="dos", closest="dos", scores={"dos": 1.0}, novelty=0.5, window_fill=1, window_width=16,
    topic="ids.telemetry", topic_id=str(SOURCE.topic_id), partition=3, offset=41, model_name="kdd99",
    model_version="9", model_digest="ab",
    explanation=Explanation((Driver("count", "511", 0.5, "0..511", "0..5"),) * 5, (0.1,) * 15),
    context={"sensor": "s" * 200},
)  # fmt: skip
WITHOUT_EXPLANATION = replace(ALERT, explanation=None)
BARE = replace(WITHOUT_EXPLANATION, context=None)


def letter_of(value: bytes | None, key: bytes | None = b"cam", headers: Any = ()) -> Message:
    record: Any = SimpleNamespace(offset=41, timestamp=1, key=key, value=value, headers=headers)
    return dead_letter(SOURCE, record, Rejected(0, Reason.TRUNCATED, "cut short"), LETTERS, "1")


def said(letter: Message) -> dict[str, bytes | None]:
    return dict(letter.headers)


def once(attempt: Any) -> Any:
    return attempt()


@given(
    value=st.binary(max_size=5_000),
    key=st.none() | st.binary(max_size=3_000),
    header=st.none() | st.binary(max_size=3_000),
    limit=st.integers(800, 12_000),
)
def test_a_cut_letter_fits_and_says_what_it_was(
    value: bytes, key: bytes | None, header: bytes | None, limit: int
) -> None:
    whole = letter_of(value, key, () if header is None else (("theirs", header),))
    less = shorter(whole, limit)
    if wire_bytes(whole) <= limit:
        assert less is None
        return
    if less is None:  # reason, place and the head of the key alone are larger than that
        assert limit < 900 + len((key or b"")[:1024])
        return
    cut = less.message
    assert wire_bytes(cut) <= limit
    assert value.startswith(cut.value or b"")
    assert (key or b"").startswith(cut.key or b"")
    told = said(cut)
    assert told["autodeep.reason"] == b"truncated"
    assert told["autodeep.offset"] == b"41"
    assert (told.get("autodeep.cut-value-bytes") == b"%d" % len(value)) is (cut.value != value)
    assert (told.get("autodeep.cut-headers") == b"1") is (header is not None and "theirs" not in told)


def test_where_nobody_says_the_limit_a_letter_is_halved_until_it_fits_and_keeps_its_true_length() -> None:
    broker = FakeKafkaPublisher([LETTERS], largest_bytes=100_000)
    broker.says_limit = False
    whole = letter_of(b"v" * 1_048_400)
    counted = publish([Part([whole], shorter)], broker, once)
    [cut] = broker.topics[LETTERS]
    assert 50_000 < wire_bytes(cut) <= 100_000
    assert said(cut)["autodeep.cut-value-bytes"] == b"1048400"
    assert counted == {"dead_letter": 1}


@pytest.mark.parametrize("fmt", ["avro", "json"])
@pytest.mark.parametrize("says_limit", [True, False])
@pytest.mark.parametrize(
    ("as_large_as", "counted"),
    [(ALERT, {}), (WITHOUT_EXPLANATION, {"explanation": 1}), (BARE, {"explanation": 1, "context": 1})],
)
def test_of_an_alert_the_explanation_goes_first_then_the_context(
    fmt: AlertFormat, says_limit: bool, as_large_as: Alert, counted: dict[str, int]
) -> None:
    output = AlertOutput(TOPICS, fmt)
    [largest] = output.messages([as_large_as])
    broker = FakeKafkaPublisher([DOS], largest_bytes=wire_bytes(largest))
    broker.says_limit = says_limit
    assert publish([Part(output.messages([ALERT]), output.shorter)], broker, once) == counted
    assert broker.topics[DOS] == [largest]
    assert decode_alert(largest.value) == as_large_as


def test_the_alert_itself_never_goes() -> None:
    """It is waited for, whole, and goes out whole once somebody has raised the limit."""
    output = AlertOutput(TOPICS)
    broker = FakeKafkaPublisher([DOS], largest_bytes=100)
    waited: list[Unavailable] = []

    def patience(attempt: Any) -> Any:
        with pytest.raises(MessageTooLarge) as caught:
            attempt()
        waited.append(caught.value)
        broker.largest_bytes = 1_000_000
        return attempt()

    assert publish([Part(output.messages([ALERT]), output.shorter)], broker, patience) == {}
    assert len(waited) == 1
    assert [decode_alert(one.value) for one in broker.topics[DOS]] == [ALERT]


def test_each_kind_is_shortened_in_its_own_way() -> None:
    output = AlertOutput(TOPICS)
    letters, alerts = [letter_of(b"v" * 900)] * 2, output.messages([ALERT, BARE])
    broker = FakeKafkaPublisher([LETTERS, DOS], largest_bytes=1_000)
    assert wire_bytes(alerts[0]) > 1_000 > wire_bytes(replace(alerts[0], value=alerts[1].value)) + 200
    counted = publish([Part(alerts, output.shorter), Part(letters, shorter)], broker, once)
    assert counted == {"dead_letter": 2, "explanation": 1}
