"""The process around a worker."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import gc
from streams.worker.process import spare_what_stays
before, kept = gc.get_threshold()[0], [[] for _ in range(1000)]
spare_what_stays()
print(gc.get_freeze_count() > len(kept), gc.get_threshold()[0] > 10 * before)
"""


def test_what_a_start_has_made_is_not_walked_by_the_garbage_collector_again() -> None:
    said = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "True"]
