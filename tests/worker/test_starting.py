"""How a process begins and ends: signals before anything is set up, read-only roots, ports that are taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

from streams.adapters.store.models import shipped
from streams.embedded.kafka import Broker
from streams.embedded.workers import free_port
from streams.errors import SettingsError
from streams.settings import PREFIX, Settings
from streams.worker.pages import bound
from tests.path import DEADLINE_S, named, path

WORKER = (sys.executable, "-m", "streams", "worker")
AS_ROOT = () if os.getuid() == 0 else ("--user", "--map-root-user")
NOWHERE = {"redis_url": "redis://127.0.0.1:1/0", "kafka_servers": "127.0.0.1:1", "start_timeout_s": "1"}


def unshared(*what: str) -> tuple[str, ...]:
    """The command that runs another in namespaces of its own."""
    command = ("unshare", *AS_ROOT, *what)
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no namespaces")
    return command


@contextmanager
def started(
    command: Sequence[str], settings: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**inherited, **named(settings)}, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def awaited_import(process: subprocess.Popen[bytes], pid: int) -> None:
    """Return while torch is being imported, which takes its seconds."""
    deadline_s = time.monotonic() + DEADLINE_S
    while "libtorch" not in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace"):
        assert process.poll() is None
        assert time.monotonic() < deadline_s


def child_of(pid: int) -> int:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline_s
    return int(children[0])


def test_sigterm_ends_process_1_of_a_container_while_it_still_imports(tmp_path: Path) -> None:
    """For process 1 a signal without a handler does nothing, whoever sends it."""
    log = tmp_path / "log"
    with started((*unshared("--pid", "--fork", "--kill-child"), *WORKER), NOWHERE, log) as process:
        first = child_of(process.pid)
        awaited_import(process, first)
        os.kill(first, signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert log.read_text() == ""


def test_ctrl_c_while_it_still_imports_ends_it_without_a_traceback(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(WORKER, NOWHERE, log) as process:
        awaited_import(process, process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGINT
    assert log.read_text() == ""


def test_sigterm_ends_a_worker_that_waits_for_redis(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(WORKER, {**NOWHERE, "start_timeout_s": "60"}, log) as process:
        deadline_s = time.monotonic() + DEADLINE_S
        while "trying again" not in log.read_text():
            assert time.monotonic() < deadline_s
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("bind", "port", "says"),
    [
        ("192.0.2.1", 0, "Cannot assign requested address"),  # of a network for examples, RFC 5737
        ("no.such.host.invalid", 0, "ame"),
        ("a" * 300, 0, "port 0"),
        ("127.0.0.1", None, "Address already in use"),
    ],
)
def test_pages_that_cannot_be_served_are_a_wrong_setting(bind: str, port: int | None, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1] if port is None else port
        with pytest.raises(SettingsError, match=r"AUTODEEP_WEB_BIND or AUTODEEP_WEB_PORT$") as caught:
            bound(Settings(web_bind=bind, web_port=wanted))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bind", ["::", "0.0.0.0", "localhost", "127.0.0.1"])
def test_pages_at_any_address_take_connections_to_127_0_0_1(bind: str) -> None:
    if bind == "::" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this system has no IPv6")
    with bound(Settings(web_bind=bind, web_port=0)) as opened:
        opened.listen()
        with socket.create_connection(("127.0.0.1", opened.getsockname()[1]), DEADLINE_S):
            pass


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started(WORKER, {**NOWHERE, "web_port": port}, log) as process:
            assert process.wait(DEADLINE_S) == 2
    (line,) = log.read_text().splitlines()
    assert f"at 127.0.0.1 port {port}: Address already in use" in line


@contextmanager
def web_store() -> Iterator[str]:
    """The models that ship, behind a web server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=shipped())) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.kafka
@pytest.mark.redis
def test_a_worker_runs_on_a_read_only_root_without_a_home_as_a_user_that_nobody_knows(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    """/tmp is read-only, too; the models come from a web server; the pages are at :: and at a port given."""
    inside = "mount -o remount,ro,bind / && ! touch /tmp/x && "
    inside += "exec unshare --user --map-user=4242 --map-group=4242 env -u HOME " + " ".join(WORKER)
    command = (*unshared("--mount"), "sh", "-c", inside)
    log, port = tmp_path / "log", free_port()
    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested, web_store() as store:
        settings = {
            **tested.environment,
            **named({"model_store": store, "web_port": str(port), "web_bind": "::"}),
        }
        plain = {name.removeprefix(PREFIX).lower(): value for name, value in settings.items()}
        with started(command, plain, log) as process:
            deadline_s = time.monotonic() + DEADLINE_S
            while "partitions of" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline_s, log.read_text()
            assert urlopen(f"http://127.0.0.1:{port}/health/live", timeout=DEADLINE_S).status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
    assert log.read_text().count("models are not kept: this user has no home") == 1
    assert "Traceback" not in log.read_text()


def test_a_worker_that_cannot_start_says_why_and_ends_without_pythons_tidying() -> None:
    program = (
        "import atexit\n"
        "from streams.errors import SettingsError\n"
        "from streams.worker.process import closed_then_ended\n"
        "atexit.register(print, 'tidied')\n"
        "with closed_then_ended():\n"
        "    raise SettingsError('a setting is wrong')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "autodeep: a setting is wrong\n")
