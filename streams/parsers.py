"""What the text of a setting may be: parsers give the value, or raise ValueError that says what is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit


def flag(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("expected true or false")


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return parse


def some_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        words = [part for part in (one.strip() for one in text.split(",")) if part]
        if not set(words) <= set(choices):
            raise ValueError(f"expected some of {', '.join(choices)}, comma-separated")
        return ",".join(dict.fromkeys(words))

    return parse


_MOST: Final = 1e9
"""Of any number: what libraries count in 32 bits, and more seconds than anybody waits."""


def at_least(least: float, kind: type[int] | type[float], most: float = _MOST) -> Callable[[str], float]:
    def parse(text: str) -> float:
        expected = f"expected a number of at least {least} and at most {most:,.0f}"
        value = _number(text, kind, expected)
        if not least <= value <= most:
            raise ValueError(expected)
        return value

    return parse


def _number(text: str, kind: type[int] | type[float], expected: str) -> float:
    """Python's own errors quote the text, which may hold a password that stands where it should not."""
    try:
        return kind(text)
    except ValueError:
        raise ValueError(expected) from None


def port(text: str) -> int:
    expected = "expected a port, 0 to 65535"
    port = int(_number(text, int, expected))
    if not 0 <= port <= 65_535:
        raise ValueError(expected)
    return port


def servers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")]
    found = list(map(_SERVER.fullmatch, servers))
    if not all(one is not None and 1 <= int(one[2]) <= 65_535 for one in found):
        raise ValueError("expected host:port, or several with commas between them")
    return ",".join(servers)


_SERVER: Final = re.compile(r"([\w.-]+|\[[^\[\]\s,]+\]):([0-9]{1,5})")


def url(text: str) -> str:
    """A URL or a path, as it is. What is no URL may show a part of its password where its host should be."""
    try:
        if "://" in text:
            urlsplit(text).port  # noqa: B018  # raises ValueError where what stands there is none
    except ValueError:
        raise ValueError("no such host and port; in a password write / as %2F, @ as %40, # as %23") from None
    return text


def http(text: str) -> str:
    if text and not text.lower().startswith(("http://", "https://")):
        raise ValueError("expected http://host:port or https://host:port")
    return url(text)


def topic_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", text):
        raise ValueError("expected 1 to 200 letters, digits, '.', '_' and '-', as Kafka takes for a topic")
    return text


def topic_names(text: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) or name in {".", ".."}:
            raise ValueError(
                "expected names of topics, of letters, digits, '.', '_' and '-', with commas between them"
            )
    return ",".join(dict.fromkeys(names))


def share(text: str) -> float:
    expected = "expected a number from 0 to 1"
    value = _number(text, float, expected)
    if not 0 <= value <= 1:
        raise ValueError(expected)
    return value
