"""Debian's Prometheus for the tests: its programs, and a server on loopback that scrapes a worker."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streams.embedded.workers import free_port
from tests.conftest import absent

DEADLINE_S: Final = 30.0


def program(name: str) -> str:
    """Its path; a skip, or with CI=true a failure, where it is not there."""
    found = shutil.which(name)
    if found is None:
        absent(f"{name} is not on the PATH: Debian's package prometheus has it (`.ci/run` fetches it)")
    return found


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives. Raises AssertionError where it cannot be parsed."""
        question = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{question}", timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{expression}: {json.load(exc).get('error')}") from exc
        return found

    def values(self, label: str) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/api/v1/label/{label}/values", timeout=5) as answer:
            found: list[str] = json.load(answer)["data"]
        return found

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, targets: Sequence[str], rules: Path) -> Iterator[Prometheus]:
    """Scrapes the targets each half second as the job `autodeep`, and evaluates the rules."""
    settings = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "autodeep", "static_configs": [{"targets": list(targets)}]}],
    }
    written, port = folder / "prometheus.json", free_port()
    written.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML, too
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                program("prometheus"), f"--config.file={written}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        until(server.answers, lambda: log.read_text(encoding="utf-8", errors="replace")[-2000:])
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], says: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, says()
        time.sleep(0.1)
