"""What a person reads holds no password and no control characters, whatever URL or name it is about."""

from __future__ import annotations

import dataclasses
import doctest
import io
import logging

import pytest

from streams import legible
from streams.adapters.redis.windows import RedisWindows
from streams.adapters.registry import confluent_registry
from streams.adapters.store.models import open_store
from streams.codec.models import ModelStatus, encode_status
from streams.core.kdd99 import KDD99
from streams.core.windows import WindowLayout
from streams.errors import AutodeepError, DataError, Unavailable
from streams.legible import OneLine, lines, one_line, without_secrets
from streams.settings import Settings, variable

LOG_IN = "zuleika:hunter2%40x"
QUERY = "?token=hunter2"
URLS = [
    field.name
    for field in dataclasses.fields(Settings)
    if "url" in f"{field.name} {field.metadata['says']}".lower()
]


def test_the_examples_hold() -> None:
    assert doctest.testmod(legible).failed == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h:80/x", "http://h:80/x"),
        ("HTTPS://u:p@h", "HTTPS://h"),
        ("redis+sentinel://:p@ss@h/0", "redis+sentinel://h/0"),
        ("simplecache::s3://key:secret@bucket/kdd99@champion", "simplecache::s3://bucket/kdd99@champion"),
        ("a http://u@h, b https://v:w@i", "a http://h, b https://i"),
        ("http://h/a@b", "http://h/a@b"),
        ("https://h/x?sig=a%2Fb&t=c: 403", "https://h/x?… 403"),
        ("Settings(url='https://h/x?token=it's', n=1)", "Settings(url='https://h/x?…', n=1)"),
        ("(https://h/#secret) and https://h?a", "(https://h/?…) and https://h?…"),
        ("is https://h/x there?", "is https://h/x there?"),
        ("ann@example.org", "ann@example.org"),
    ],
)
def test_what_stands_before_the_host_of_an_url_and_its_query_are_cut(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("part", ["a", "a://", "a:", "a://b@", "://?", "a://b?'", "@", " "])
def test_a_long_text_takes_no_longer_than_its_length(part: str) -> None:
    """Where it were the square of it, this would take hours: a worker that logs such a name stands still."""
    assert "hunter2" not in one_line(part * (1_000_000 // len(part)) + " https://u:hunter2@h")


def test_letters_that_a_terminal_obeys_are_replaced_and_lines_stay_where_they_may() -> None:
    hostile = "a\x1b[2J\r\n\x9b1m\u202e\u2028\udc80b"
    assert one_line(hostile).isprintable()
    assert lines("a\x1b\nb\tc").split("\n") == ["a\ufffd", "b       c"]


def logged(message: str, *arguments: object, exc: BaseException | None = None) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(OneLine("%(levelname)s %(message)s"))
    handler.handle(
        logging.makeLogRecord({"msg": message, "args": arguments, "exc_info": exc and (type(exc), exc, None)})
    )
    return out.getvalue()


def test_a_name_from_a_record_forges_no_line_of_the_log() -> None:
    forged = "kdd99\n2026-01-31 12:00:00,000 INFO autodeep: promoted\x1b[2J"
    assert logged("model %s", forged).count("\n") == 1
    trace = logged("unexpected", exc=ValueError(forged))
    assert [line for line in trace.splitlines()[1:] if not line.startswith("  ")] == []
    assert "\x1b" not in trace


@pytest.mark.parametrize("name", URLS)
def test_no_url_of_the_settings_is_shown_with_its_secrets(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As the settings' repr, in the error of whoever uses it, in the log and in a status."""
    scheme, query = ("redis", "") if "redis" in name else ("http", QUERY)
    url = f"{scheme}://{LOG_IN}@127.0.0.1:1/x{query}"
    settings = Settings.from_environment({variable(name): url})
    shown = [repr(settings), str(settings), logged("%s", url)]
    with pytest.raises(AutodeepError) as caught:
        use(name, settings)
    shown += [str(caught.value), logged("%s", caught.value), logged("x", exc=caught.value), *caplog.messages]
    status = ModelStatus("decision", "w", "c", 1, "n", "1", "d", "refused", str(caught.value), 0.0, 1)
    shown.append(encode_status(status).decode())
    assert "127.0.0.1" in shown[-1]
    assert not [text for text in shown if "hunter2" in text or "zuleika" in text]


def use(name: str, settings: Settings) -> None:
    """What a worker does with this URL, where nobody answers."""
    if name == "schema_registry_url":
        confluent_registry(settings.schema_registry_url, 0.3).schema(1)
    elif name == "model_store":
        open_store(settings.model_store).load("kdd99/1")
    elif name == "redis_url":
        with RedisWindows(WindowLayout(KDD99), settings.redis_url, "ids", 60, 0.3) as windows:
            windows.ping()
    else:
        raise Unavailable(f"{name} has no user here: {getattr(settings, name)}")


def test_an_error_of_ours_is_clean_wherever_it_is_read() -> None:
    error = DataError("s3://key:secret@bucket: 'a\x1b[31m'\nthe end of its log")
    assert str(error) == "s3://bucket: 'a\ufffd[31m'\nthe end of its log"
