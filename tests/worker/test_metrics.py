"""What a worker tells Prometheus is what it counted, under names that Prometheus's own parser reads."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from streams.codec.models import ModelRef
from streams.core.events import Chunk, Source
from streams.pipeline.cache import CacheFigures
from streams.pipeline.detection import Report
from streams.pipeline.recovery import Recovered
from streams.worker.metrics import exposition
from streams.worker.worker import STUCK_AFTER_S, Worker

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
MODEL = ModelRef("kdd99", "2", "ab" * 32)


def report(records: int) -> Report:
    return Report(
        records=records,
        classified=5,
        repeats=2,
        new_devices=4,
        verdicts={"normal": 3, "dos": 2},
        dead_letters={"nan": 1},
        fenced=1,
        cpu_ns={"infer": 1_500_000_000},
    )


def scraped(worker: Worker) -> dict[tuple[str, str], float]:
    """Samples by name and by the value of their one label, if they have one."""
    text = exposition(worker, lambda: MODEL)().decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families if family.name.startswith("autodeep"))
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_totals_are_told_as_counters_in_base_units() -> None:
    worker = Worker()
    worker.totals.add(report(8))
    worker.totals.add(report(1))
    found = scraped(worker)
    assert found["autodeep_records_total", ""] == 9
    assert found["autodeep_events_total", "normal"] == 6
    assert found["autodeep_alerts_total", "dos"] == 4
    assert ("autodeep_alerts_total", "normal") not in found
    assert found["autodeep_dead_letters_total", "nan"] == 2
    assert found["autodeep_repeats_total", ""] == 4
    assert found["autodeep_new_devices_total", ""] == 8
    assert found["autodeep_fenced_windows_total", ""] == 2
    assert found["autodeep_stage_cpu_seconds_total", "infer"] == 3.0
    assert found["autodeep_model_info", f"{'ab' * 32},kdd99,2"] == 1
    assert found["process_resident_memory_bytes", ""] > 1e6


class Rebuilt:
    """As much of a pipeline as tells what was rebuilt."""

    cache_figures = CacheFigures(0, 0, 0, 0)
    recovered = Recovered(rebuilds=2, windows=40)


def test_rebuilt_windows_are_counted() -> None:
    worker = Worker()
    assert scraped(worker)["autodeep_rebuilt_windows_total", ""] == 0
    worker.serve(Rebuilt())  # type: ignore[arg-type]
    assert scraped(worker)["autodeep_window_rebuilds_total", ""] == 2
    assert scraped(worker)["autodeep_rebuilt_windows_total", ""] == 40


def test_a_chunk_that_is_rebuilding_windows_is_progress() -> None:
    now_s = 0.0
    worker = Worker(lambda: now_s)
    worker.take_up(Chunk(SOURCE, (Record(10),), 20))  # type: ignore[arg-type]
    now_s = STUCK_AFTER_S + 1
    assert not worker.live
    worker.progressed()
    assert worker.live


def test_chunks_are_counted_in_buckets_each_with_all_below_it() -> None:
    worker = Worker()
    for records in (1, 4, 5, 4096, 5000):
        worker.totals.add(report(records))
    found = scraped(worker)
    bounds = {label: n for (name, label), n in found.items() if name == "autodeep_chunk_records_bucket"}
    assert bounds == {
        "1.0": 1,
        "4.0": 2,
        "16.0": 3,
        "64.0": 3,
        "256.0": 3,
        "1024.0": 3,
        "4096.0": 4,
        "+Inf": 5,
    }
    assert found["autodeep_chunk_records_count", ""] == 5
    assert found["autodeep_chunk_records_sum", ""] == 9106


@dataclass
class Record:
    offset: int


def test_health_and_lag_are_gauges() -> None:
    worker = Worker()
    assert scraped(worker)["autodeep_ready", ""] == 0
    worker.assigned(frozenset({3}))
    assert scraped(worker)["autodeep_partition_lag_records", "3"] == 0
    worker.take_up(Chunk(SOURCE, (Record(10), Record(11)), 20))  # type: ignore[arg-type]
    assert scraped(worker)["autodeep_partition_lag_records", "3"] == 8  # 12 to 19
    assert scraped(worker)["autodeep_live", ""] == 1
