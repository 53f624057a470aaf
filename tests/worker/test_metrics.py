"""What a worker tells Prometheus is what it counted, under names that Prometheus's own parser reads."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.adapters.kafka.offsets import Offsets, Standing
from streams.codec.models import ModelRef
from streams.core.events import Chunk, Source
from streams.core.latency import latency_of
from streams.core.skew import Skew
from streams.core.spans import Spans
from streams.errors import BrokerUnavailable, WindowStoreUnavailable
from streams.model.drift import DriftFigures
from streams.pipeline.cache import CacheFigures
from streams.pipeline.incidents import IncidentFigures
from streams.pipeline.recovery import Recovered
from streams.pipeline.reports import Report
from streams.worker.health import STUCK_AFTER_S, Health
from streams.worker.metrics import exposition
from streams.worker.pages import stats_of
from tests.worker.test_worker_stuck import Belt, Clocked, takes_up

TELEMETRY, FLOWS = "ids.telemetry", "ids.flows"
MODEL = ModelRef("kdd99", "2", "ab" * 32)


class Counted:
    """As much of a detection as tells figures."""

    def __init__(self, recovered: Recovered | None = None) -> None:
        self.cache_figures = CacheFigures(devices=3, capacity=8, hits=20, misses=5)
        self.recovered = recovered or Recovered()
        self.incident_figures = IncidentFigures({("dos", "high"): 2, ("novel", "medium"): 0}, devices=5)


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
        revisions={"open": 2, "close": 1},
    )


def chunk(topic: str, partition: int, *offsets: int, end: int) -> Chunk:
    records: Any = [SimpleNamespace(offset=offset) for offset in offsets]
    return Chunk(Source(topic, uuid.UUID(int=7), partition), records, end)


def scraped(health: Health, detection: Any = None) -> dict[tuple[str, str], float]:
    """Samples by name and by the values of their labels, in the order of the labels' names."""
    text = exposition(health, detection or Counted(), lambda: [MODEL])().decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families if family.name.startswith("autodeep"))
    return {
        (sample.name, ",".join(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_totals_are_told_as_counters_in_base_units() -> None:
    health = Health()
    health.totals.add(report(8))
    health.totals.add(report(1))
    health.totals.note_lost("retention", 300)
    found = scraped(health)
    assert found["autodeep_records_total", ""] == 9
    assert found["autodeep_events_total", "normal"] == 6
    assert found["autodeep_incident_revisions_total", "open"] == 4
    assert found["autodeep_open_incidents", "dos,high"] == 2
    assert found["autodeep_open_incidents", "novel,medium"] == 0
    assert found["autodeep_incident_devices", ""] == 5
    assert found["autodeep_alerts_total", "dos"] == 4
    assert ("autodeep_alerts_total", "normal") not in found
    assert found["autodeep_dead_letters_total", "nan"] == 2
    assert found["autodeep_lost_records_total", "retention"] == 300
    assert found["autodeep_repeats_total", ""] == 4
    assert found["autodeep_new_devices_total", ""] == 8
    assert found["autodeep_fenced_windows_total", ""] == 2
    assert found["autodeep_stage_cpu_seconds_total", "infer"] == 3.0
    assert found["autodeep_model_info", f"{'ab' * 32},kdd99,2"] == 1
    assert found["autodeep_window_cache_hits_total", ""] == 20
    assert found["autodeep_window_cache_misses_total", ""] == 5
    assert found["autodeep_window_cache_devices", ""] == 3
    assert found["autodeep_window_cache_capacity_devices", ""] == 8
    assert found["process_resident_memory_bytes", ""] > 1e6


def test_what_is_known_beforehand_begins_at_0_so_that_the_first_one_is_a_rise() -> None:
    found = scraped(Health())
    for name, label in (
        ("events", "normal"), ("alerts", "dos"), ("alerts", "novel"), ("dead_letters", "undecodable"),
        ("lost_records", "retention"), ("shortened", "dead_letter"), ("stage_cpu_seconds", "infer"),
        ("fleet_reports", "failed"),
    ):  # fmt: skip
        assert found[f"autodeep_{name}_total", label] == 0, name


def test_rebuilt_windows_are_counted() -> None:
    assert scraped(Health())["autodeep_rebuilt_windows_total", ""] == 0
    found = scraped(Health(), Counted(Recovered(rebuilds=2, windows=40)))
    assert found["autodeep_window_rebuilds_total", ""] == 2
    assert found["autodeep_rebuilt_windows_total", ""] == 40


def test_a_turn_that_is_rebuilding_windows_is_progress() -> None:
    health = Clocked()
    takes_up(health)
    health.now_s = STUCK_AFTER_S + 1
    assert not health.live
    health.progressed()
    assert health.live


def test_turns_are_counted_in_buckets_each_with_all_below_it() -> None:
    health = Health()
    for records in (1, 4, 5, 4096, 5000):
        health.totals.add(report(records))
    found = scraped(health)
    bounds = {label: n for (name, label), n in found.items() if name == "autodeep_turn_records_bucket"}
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
    assert found["autodeep_turn_records_count", ""] == 5
    assert found["autodeep_turn_records_sum", ""] == 9106


def test_the_skew_of_event_times_is_a_histogram_by_direction() -> None:
    health = Health()
    skew = Skew(Spans((2, 1, 0, 0, 0, 0, 0, 0), 2.5), Spans((0, 0, 0, 0, 0, 1, 0, 4), 9e9))
    health.totals.add(replace(report(8), skew=skew, window_resets=3))
    health.totals.add(replace(report(8), skew=skew))
    found = scraped(health)
    name = "autodeep_event_time_skew_seconds"
    ahead = [found[f"{name}_bucket", f"ahead,{bound}"] for bound in ("1.0", "10.0", "86400.0", "+Inf")]
    behind = [found[f"{name}_bucket", f"behind,{bound}"] for bound in ("1.0", "86400.0", "2592000.0", "+Inf")]
    assert (ahead, behind) == ([4, 6, 6, 6], [0, 2, 2, 10])
    assert (found[f"{name}_sum", "ahead"], found[f"{name}_count", "behind"]) == (5.0, 10)
    assert found["autodeep_window_resets_total", ""] == 3
    assert health.figures()["window_resets"] == 3


def test_the_latency_of_alerts_is_a_histogram() -> None:
    health = Health()
    for seconds in (0.02, 0.02, 400.0):
        latency = latency_of(np.array([1_000_000]), int(1_000_000 + seconds * 1e6))
        health.totals.add(replace(report(8), latency=latency))
    found = scraped(health)
    name = "autodeep_alert_latency_seconds"
    buckets = [found[f"{name}_bucket", bound] for bound in ("0.01", "0.025", "300.0", "+Inf")]
    assert buckets == [0, 2, 2, 3]
    assert found[f"{name}_sum", ""] == pytest.approx(400.04)


def test_drift_is_told_by_feature_once_there_is_any_and_no_label_is_a_device() -> None:
    health = Health()
    assert not any(name.startswith("autodeep_drift") for name, _ in scraped(health))
    health.drift = lambda: DriftFigures("ab", 7200, 300, {"src_bytes": 0.3, "count": 0.0}, {"flag": 0.1}, 0.2)
    found = {name: value for name, value in scraped(health).items() if name[0].startswith("autodeep_drift")}
    assert found == {
        ("autodeep_drift_psi", "src_bytes"): 0.3,
        ("autodeep_drift_psi", "count"): 0.0,
        ("autodeep_drift_unknown_symbol_ratio", "flag"): 0.1,
        ("autodeep_drift_novel_ratio", ""): 0.2,
        ("autodeep_drift_hour_events", ""): 300,
        ("autodeep_drift_hour_start_timestamp_seconds", ""): 7200,
    }


def test_health_and_lag_are_gauges_by_topic_and_partition() -> None:
    health = Health()
    assert scraped(health)["autodeep_ready", ""] == 0
    health.watch([])
    health.assigned(frozenset({(TELEMETRY, 3), (FLOWS, 3)}))
    assert scraped(health)["autodeep_ready", ""] == 1
    assert scraped(health)["autodeep_partition_lag_records", f"3,{TELEMETRY}"] == 0
    health.note_chunks([chunk(TELEMETRY, 3, 10, 11, end=20), chunk(FLOWS, 3, 5, end=6)])
    found = scraped(health)
    assert found["autodeep_partition_lag_records", f"3,{TELEMETRY}"] == 8  # 12 to 19
    assert found["autodeep_partition_lag_records", f"3,{FLOWS}"] == 0
    assert found["autodeep_live", ""] == 1
    health.revoked()
    found = scraped(health)
    assert found["autodeep_ready", ""] == 0
    assert not [name for name, _ in found if name.startswith("autodeep_partition_")]


def test_where_partitions_stand_is_told_though_they_are_not_read() -> None:
    health = Health()
    health.assigned(frozenset({(TELEMETRY, 3), (TELEMETRY, 4)}))
    health.note_chunks([chunk(TELEMETRY, 3, 10, 11, end=20)])
    health.standings.of_consumer = lambda: {
        (TELEMETRY, 3): Standing(12, 0.5),
        (TELEMETRY, 4): Standing(5, 70.25, end_offset=7),
        (FLOWS, 1): Standing(5, 70.25),
    }
    assert health.standings.figures()[TELEMETRY, 4].lag_records == 2, "as of the fetch"
    health.standings.note_offsets({(TELEMETRY, 3): Offsets(500, 12), (TELEMETRY, 4): Offsets(9, None)})
    found = scraped(health)

    def told(suffix: str) -> list[float | None]:
        return [found.get((f"autodeep_partition_{suffix}", f"{number},{TELEMETRY}")) for number in (3, 4)]

    assert told("lag_records") == [488, 4]
    assert told("end_offset") == [500, 9]
    assert told("position") == [12, 5]
    assert told("committed_offset") == [12, None]
    assert told("seconds_since_fetch") == [0.5, 70.25]
    assert health.figures()["offsets"][f"{TELEMETRY}-4"] == {
        "end_offset": 9,
        "position": 5,
        "committed_offset": None,
        "seconds_since_fetch": 70.25,
    }
    assert not [labels for name, labels in found if labels == f"1,{FLOWS}"]


def test_the_page_of_figures_says_the_same_by_topic() -> None:
    health = Health()
    belt = Belt(lambda: 0.0, held={(TELEMETRY, 3): "loading m/2"})
    health.watch([belt])
    health.assigned(frozenset({(TELEMETRY, 10), (TELEMETRY, 3), (FLOWS, 0)}))
    health.note_chunks([chunk(TELEMETRY, 3, 10, end=20)])
    health.totals.add(report(8))
    found = stats_of(health, Counted(Recovered(windows=40)))
    assert (found["turns"], found["records"], found["rebuilt_windows"]) == (1, 8, 40)
    assert found["partitions"] == {FLOWS: [0], TELEMETRY: [3, 10]}
    assert found["role"] == "active"
    assert found["lag"] == {f"{FLOWS}-0": 0, f"{TELEMETRY}-10": 0, f"{TELEMETRY}-3": 9}
    assert found["held"] == {f"{TELEMETRY}-3": "loading m/2"}
    assert (found["cached_devices"], found["cache_capacity"]) == (3, 8)


def test_why_a_worker_is_not_ready_is_the_first_thing_that_is_missing() -> None:
    health = Health()
    assert health.unready == "the model is not loaded yet"
    health.watch([])
    assert (health.role, health.unready) == ("joining", "no partitions are assigned yet")
    health.assigned(frozenset({(TELEMETRY, 3)}))
    assert (health.role, health.unready) == ("active", None)
    health.why_held = lambda: "holding for m/2"
    assert health.unready == "holding for m/2"
    health.note_away(WindowStoreUnavailable("Redis is away"))
    assert health.unready == "Redis is away"


def test_a_member_without_partitions_is_ready_and_a_spare_once_the_group_has_said_so() -> None:
    health = Health()
    health.watch([])
    health.assigned(frozenset())
    assert (health.role, health.unready) == ("spare", None)
    assert health.figures()["role"] == "spare"
    health.revoked()
    assert (health.role, health.unready) == ("joining", "no partitions are assigned yet")


def test_everything_that_is_away_is_named_and_each_goes_when_it_is_back() -> None:
    """What two threads wait for, and what probes found; what both say is said once."""
    health, probe = Health(), SimpleNamespace(problem=None)
    health.watch([])
    health.assigned(frozenset({(TELEMETRY, 3)}))
    health.probes.append(probe)
    redis, kafka = WindowStoreUnavailable("Redis is away"), BrokerUnavailable("Kafka is away")
    health.note_away(redis)
    with ThreadPoolExecutor(1) as deliverer:
        deliverer.submit(health.note_away, kafka).result()
        assert health.figures()["away"] == ["Redis is away", "Kafka is away"]
        health.note_away(None)
        probe.problem = "Kafka is away"
        assert health.unready == "Kafka is away"
        probe.problem = "Redis is away"
        assert health.unready == "Kafka is away; Redis is away"
        deliverer.submit(health.note_away, None).result()
    probe.problem = None
    assert (health.unready, health.figures()["away"], health.live) == (None, [], True)
