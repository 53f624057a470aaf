"""What servers of our own that belong together are asked, and how long they may take to come together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import redis

from streams.errors import WindowStoreUnavailable

SYNCED_AT_ONCE: Final = ("--repl-diskless-sync-delay", "0")
_SETTLE_S: Final = 30.0


def client_of(port: int) -> Any:
    """Commands as the library has them; its types say less than a test needs."""
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=10)


def role_of(port: int) -> str:
    try:
        with client_of(port) as client:
            return str(client.info("replication")["role"])
    except redis.ConnectionError:
        return ""


def is_linked(port: int) -> bool:
    with client_of(port) as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def has_all_of(replica: int, primary: int) -> None:
    """Return once the replica has all that was written to the primary. Ports."""

    def told(port: int, name: str) -> int:
        with client_of(port) as client:
            return int(client.info("replication").get(name, -1))

    wait_for(
        "a replica to have everything",
        lambda: told(replica, "slave_repl_offset") == told(primary, "master_repl_offset"),
    )


def wait_for(what: str, true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _SETTLE_S
    while not true():
        if time.monotonic() > deadline_s:
            raise WindowStoreUnavailable(f"Redis: waited {_SETTLE_S:.0f} s for {what}")
        time.sleep(0.05)
