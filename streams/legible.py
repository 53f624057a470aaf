"""What a person reads of foreign text: without the secrets inside a URL, and without control characters.

Errors (`errors.py`), the log (`OneLine`), the settings' repr and the command line (`cli/output.py`) all pass
through here, so that nobody else has to think of it.
"""

from __future__ import annotations

import logging
import re
from types import TracebackType
from typing import Final

_USER_INFO: Final = re.compile(r"://[^\s/?#]*@")
_URL: Final = re.compile(r"(://[^\s?#]*)([?#](?:[^\s'\")]|['\")](?=\w))+)?")
"""Tokens and signatures stand there. A quote or bracket is the end of the URL, unless it goes on."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def without_secrets(text: str) -> str:
    """`https://user:password@host/path?token` as `https://host/path?…`, wherever it stands in the text.

    In time in proportion to the text, whoever wrote it: while a pattern is looked for no other thread runs.

    >>> without_secrets("https://u:p@h/a@b?token=c&sig=d does not answer")
    'https://h/a@b?… does not answer'
    """
    return _URL.sub(_without_query, _USER_INFO.sub("://", text))


def _without_query(url: re.Match[str]) -> str:
    return url[1] if url[2] is None else f"{url[1]}?…"


def one_line(text: str) -> str:
    """Nothing in it moves a terminal's cursor, begins a line, or shows a password.

    >>> one_line("kdd99\\x1b[2J\\n2026-01-31 INFO autodeep: promoted")
    'kdd99\ufffd[2J\ufffd2026-01-31 INFO autodeep: promoted'
    """
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in without_secrets(text)
    )


def shortened(text: str, most: int = 60) -> str:
    """Of a long text its beginning, and a sign that it goes on.

    >>> shortened("a-device-with-a-long-name", most=10)
    'a-devic...'
    """
    return text if len(text) <= most else text[: most - 3] + "..."


def lines(text: str) -> str:
    """The same for text of several lines, which stay."""
    return "\n".join(one_line(line.expandtabs()) for line in text.split("\n"))


class OneLine(logging.Formatter):
    """A record is one line, whatever a name or a message in it holds; a trace's lines are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        return one_line(super().formatMessage(record))

    def formatException(self, ei: ExcInfo) -> str:  # logging's name
        trace = lines(super().formatException(ei))
        return "\n".join(f"  {line}" for line in trace.split("\n"))


def counted(count: int, noun: str) -> str:
    """
    >>> counted(1, "flow"), counted(12_000, "flow")
    ('1 flow', '12,000 flows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
