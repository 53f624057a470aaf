"""Sentinels and clusters with TLS, passwords for both, and the least rights that docs/operating.md lists."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from streams.adapters.redis.address import parse_address
from streams.adapters.redis.windows import RedisWindows
from streams.core.kdd99 import KDD99
from streams.core.windows import WindowLayout
from streams.embedded.certificates import Authority
from streams.embedded.process import ServerProcess
from streams.embedded.redis import RedisServer, find_redis
from streams.embedded.redis_cluster import port_with_bus
from streams.embedded.workers import free_port
from streams.errors import AccessDenied, SettingsError, WindowStoreUnavailable
from tests.adapters.test_secured import LEAST_REDIS

LAYOUT = WindowLayout(KDD99)
USER, PASSWORD, OF_SENTINELS = "worker", "p@ss/word", "of-sentinels"
LEAST_CLUSTER = f"{LEAST_REDIS} +asking +cluster|slots"
LEAST_SENTINEL = "+ping +hello +sentinel|get-master-addr-by-name"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@contextmanager
def server(authority: Authority, tls_port: int, rights: str, *more: str) -> Iterator[None]:
    issued = authority.issue(f"redis-{tls_port}")
    arguments = (
        "--tls-port", str(tls_port), "--tls-cert-file", str(issued.chain_file), "--tls-key-file",
        str(issued.key_file), "--tls-ca-cert-file", str(authority.ca_file), "--tls-auth-clients", "no", *more,
    )  # fmt: skip
    deadline_s = time.monotonic() + 20
    with RedisServer(arguments, port=port_with_bus()) as started:
        with redis.Redis.from_url(started.url) as client:
            client.acl_setuser(
                USER,
                enabled=True,
                passwords=[f"+{PASSWORD}"],
                keys=["*:w:*", "*:i:*"],
                commands=rights.split(),
            )
            if "--cluster-enabled" in more:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    assert time.monotonic() < deadline_s
        yield


@contextmanager
def sentinel(authority: Authority, folder: Path, server_port: int) -> Iterator[int]:
    """Its port, with TLS and a user of its own."""
    port, issued, config = free_port(), authority.issue("sentinel"), folder / "sentinel.conf"
    config.write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {folder}\ntls-replication yes\ntls-auth-clients no\n"
        f"tls-cert-file {issued.chain_file}\ntls-key-file {issued.key_file}\n"
        f"tls-ca-cert-file {authority.ca_file}\n"
        f"user default off\nuser watcher on >{OF_SENTINELS} {LEAST_SENTINEL}\n"
        f"sentinel monitor windows 127.0.0.1 {server_port} 1\n"
    )
    process = ServerProcess("sentinel", [find_redis(), str(config), "--sentinel"], folder / "sentinel.log")

    def answers() -> bool:
        with redis.Redis(
            "127.0.0.1", port, ssl=True, ssl_ca_certs=str(authority.ca_file),
            username="watcher", password=OF_SENTINELS,
        ) as client:  # fmt: skip
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    try:
        process.wait_until(answers, 20, WindowStoreUnavailable)
        yield port
    finally:
        process.stop()


def opened(url: str, authority: Authority) -> RedisWindows:
    return RedisWindows(LAYOUT, url, uuid.uuid4().hex, 3600, 5, str(authority.ca_file))


@pytest.mark.redis
def test_a_primary_and_its_sentinels_have_users_of_their_own(
    redis_url: str, authority: Authority, tmp_path: Path
) -> None:
    """`redis_url` only says that one can be started."""
    tls_port = free_port()
    with server(authority, tls_port, LEAST_REDIS), sentinel(authority, tmp_path, tls_port) as port:
        at = f"rediss+sentinel://{USER}:p%40ss%2Fword@127.0.0.1:1,127.0.0.1:{port}/windows/0"
        users = f"{at}?sentinel_username=watcher&sentinel_password="
        with opened(f"{users}{OF_SENTINELS}", authority) as store:
            store.ping()
            store.claim("ours")
            assert store.evictions().policy == "noeviction"
        for wrong, says in (
            (f"{users}wrong", f"sentinel 127.0.0.1:{port}: invalid username-password"),
            (f"{users}{OF_SENTINELS}".replace("word@", "wrong@"), "invalid username-password"),
        ):
            with opened(wrong, authority) as store, pytest.raises(AccessDenied, match=says) as caught:
                store.ping()
            assert "wrong" not in str(caught.value)


@pytest.mark.redis
def test_a_cluster_has_a_user_and_tls(redis_url: str, authority: Authority) -> None:
    """`redis_url` only says that one can be started."""
    tls_port, own = port_with_bus(), ("--cluster-enabled", "yes", "--tls-cluster", "yes")
    with server(authority, tls_port, LEAST_CLUSTER, *own):
        at = f"@127.0.0.1:{tls_port}"
        with opened(f"rediss+cluster://{USER}:p%40ss%2Fword{at}", authority) as store:
            store.ping()
            store.claim("ours")
            assert store.evictions().policy == "noeviction"
        with opened(f"rediss+cluster://{USER}:hunter2{at}", authority) as store:
            with pytest.raises(AccessDenied, match="invalid username-password") as caught:
                store.ping()
            assert "hunter2" not in str(caught.value)


def test_hosts_passwords_primary_and_database_are_read() -> None:
    address = parse_address(
        "redis+sentinel://u:p%40@a,[::1]:7/main/2?sentinel_password=s&socket_timeout=3", 5
    )
    assert [(place["host"], place["port"], place.get("password")) for place in address.places] == [
        ("a", 26379, "s"),
        ("::1", 7, "s"),
    ]
    assert address.primary == "main"
    assert address.of_primary is not None
    shown = {name: address.of_primary[name] for name in ("username", "password", "db", "socket_timeout")}
    assert shown == {"username": "u", "password": "p@", "db": 2, "socket_timeout": 3}
    cluster = parse_address("redis+cluster://:p@a:1,b", 5)
    assert [(place["host"], place["port"], place["password"]) for place in cluster.places] == [
        ("a", 1, "p"),
        ("b", 6379, "p"),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:hunter2@a:1,b:2",
        "redis+sentinel://:hunter2@a:1,,b:2/main",
        "redis+sentinel://:hunter2@a:1/main/first",
        "redis+sentinel://:hunter2@a:70000/main",
        "redis+cluster://:hunter2@a:1/3",
        "redis+cluster://:hunter2@a:1?sentinel_password=hunter2",
        "redis+other://:hunter2@a:1",
        "http+cluster://:hunter2@a:1",
        "redis://:hunter2@a:1/0?no_such_option=1",
        "hunter2",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="AUTODEEP_REDIS_URL: expected redis://") as caught:
        parse_address(url, 5)
    assert "hunter2" not in str(caught.value)
