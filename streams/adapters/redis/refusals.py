"""What Redis answers where it does not do what it is asked, in words that help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

_PLACE: Final = re.compile(r"\.?\s*script: [0-9a-f]{40}, on @\w+:\d+\.?")
"""Where in our script it happened: the same trouble would be another text at each line of it."""
_ABOUT_ACCESS: Final = "check AUTODEEP_REDIS_URL (user and password), AUTODEEP_REDIS_CA_FILE and Redis's ACL"
_BY_KIND: Final[Mapping[type[RedisError], str]] = {
    OutOfMemoryError: "it is full: raise its maxmemory, or lower AUTODEEP_WINDOW_TTL_DAYS",
    ReadOnlyError: "it is a replica: the URL has to lead to the primary",
    MovedError: "that is a node of a cluster: use redis+cluster://",
}
_BY_BEGINNING: Final = {
    "NOREPLICAS": "fewer replicas follow it than its min-replicas-to-write asks for",
    "WRONGTYPE": "another program writes keys that begin as ours: give it, or us, a database of its own",
}


def is_refusal(problem: RedisError) -> bool:
    """Of the user or a certificate: trying again does not help."""
    refused = isinstance(problem, AuthenticationError | NoPermissionError)
    return refused or "certificate verify failed" in str(problem)


def why(problem: RedisError) -> str:
    """What it answered, and what to do where that is known."""
    said = _PLACE.sub("", str(problem))
    if is_refusal(problem):
        to_do = _ABOUT_ACCESS
    else:
        to_do = _BY_KIND.get(type(problem)) or _BY_BEGINNING.get(said.partition(" ")[0], "")
    return f"{type(problem).__name__}: {said}" + (f"; {to_do}" if to_do else "")
