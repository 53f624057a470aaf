"""How long a worker takes to start and to stop, and what it holds at rest: wall time, CPU and memory."""

from __future__ import annotations

import re
import statistics
import time
from pathlib import Path
from typing import Any, Final

from bench import parts
from streams.embedded.workers import WorkerProcess

_REST_S: Final = 2.0


def measure(runs: int) -> dict[str, Any]:
    """Medians over workers that run one after the other, without events."""
    with parts.started() as found:
        measured = [_one(found.worker(f"worker-{number}")) for number in range(runs)]
    return {name: round(statistics.median(run[name] for run in measured), 2) for name in measured[0]}


def _one(worker: WorkerProcess) -> dict[str, float]:
    begun_s = time.monotonic()
    worker.wait_ready()
    ready_s = time.monotonic()
    cpu_s = worker.figures()["process_cpu_ns"] / 1e9
    time.sleep(_REST_S)
    memory = _memory_mib(worker.pid)
    stop_s = time.monotonic()
    worker.stop()
    return {
        "start_s": ready_s - begun_s,
        "start_cpu_s": cpu_s,
        **memory,
        "stop_s": time.monotonic() - stop_s,
    }


def _memory_mib(pid: int) -> dict[str, float]:
    """Resident: the process's own, and pages of files, which workers of one machine share."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", status, re.M)}
    return {"own_mib": kib["RssAnon"] / 1024, "files_mib": kib["RssFile"] / 1024}
