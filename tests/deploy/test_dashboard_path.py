"""Grafana's dashboard: every query gives data from a Prometheus that scrapes a live worker."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from tests.deploy.prometheus import DEADLINE_S, Prometheus, prometheus, until
from tests.path import path
from tests.pipeline.test_dead_letters_path import good_rows

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "autodeep.rules.yaml"
DASHBOARD: Final[dict[str, Any]] = json.loads(
    (ROOT / "deploy" / "grafana" / "autodeep.json").read_text(encoding="utf-8")
)
PANELS: Final[list[dict[str, Any]]] = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
VARIABLES: Final = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
QUERIES: Final = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
EMPTY: Final = {
    "Alerts of Prometheus": "none fires where the worker is well",
}
"""Panels without data on a healthy worker, and why."""
NORMAL_EVENTS, ODD_EVENTS = 600, 200


@dataclass(frozen=True)
class Scraped:
    worker: WorkerProcess
    prometheus: Prometheus


@pytest.fixture(scope="module")
def scraped(kafka: Broker, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A worker that has judged normal and odd events and made a dead letter, and a Prometheus that saw it."""
    folder = tmp_path_factory.mktemp("dashboard")
    with path(kafka.bootstrap_servers, redis_url, folder, 2) as tested:
        worker = tested.worker()
        worker.wait_ready()
        with prometheus(folder, [f"127.0.0.1:{worker.web_port}"], RULES) as server:
            until(
                lambda: bool(server.query("autodeep_ready == 1")), worker.log_tail
            )  # before there are events
            rows = np.concatenate([normal_rows(NORMAL_EVENTS), good_rows(ODD_EVENTS)])
            devices = [f"d{i % 20}" for i in range(len(rows))]
            times = time.time_ns() // 1000 + np.arange(len(rows))
            values = encode_connections(KDD99, devices, times, rows)
            records = [(device.encode(), value) for device, value in zip(devices, values, strict=True)]
            tested.send([*records, (b"d1", b"poison")])
            yield Scraped(worker, server)


def normal_rows(count: int) -> Rows:
    """What the model that ships calls normal: pages of a web server."""
    rows = np.zeros(count, KDD99.row)
    values = {
        "src_bytes": 300, "dst_bytes": 5000, "logged_in": 1, "count": 5, "srv_count": 5, "same_srv_rate": 1,
        "dst_host_count": 100, "dst_host_srv_count": 200, "dst_host_same_srv_rate": 1,
    }  # fmt: skip
    for name, value in values.items():
        rows["numbers"][:, KDD99.numeric_names.index(name)] = value
    symbols = {"protocol_type": "tcp", "service": "http", "flag": "SF"}
    rows["codes"] = [column.code(symbols[column.name]) for column in KDD99.symbolic]
    return rows


def filled(expression: str) -> str:
    """As Grafana sends it, with `All` chosen."""
    for name, value in {"job": ".*", "instance": ".*", "__rate_interval": "10s", "__range": "1h"}.items():
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression
    return expression


def test_the_data_source_is_a_variable_that_every_panel_takes() -> None:
    assert (VARIABLES["datasource"]["type"], VARIABLES["datasource"]["query"]) == ("datasource", "prometheus")
    assert "__inputs" not in DASHBOARD
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    sources = [of["datasource"] for panel in PANELS for of in (panel, *panel["targets"])]
    sources += [VARIABLES[name]["datasource"] for name in ("job", "instance")]
    assert all(source == wanted for source in sources)


def test_the_rows_are_there_and_panels_neither_overlap_nor_share_an_id() -> None:
    rows = [one["title"] for one in DASHBOARD["panels"] if one["type"] == "row"]
    assert rows == [
        "Fleet", "Throughput", "Latency", "Lag", "Alerts", "Incidents", "Models and drift",
        "Dead letters and losses",
    ]  # fmt: skip
    ids = [one["id"] for one in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for one in DASHBOARD["panels"]:
        at = one["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, one["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.kafka
@pytest.mark.redis
def test_every_query_of_every_panel_gives_data_from_a_live_worker(scraped: Scraped) -> None:
    """All are asked until all have data: rates need two scrapes after the events."""
    left = {(title, filled(query)) for title, query in QUERIES if title not in EMPTY}
    deadline_s = time.monotonic() + DEADLINE_S
    while left:
        left = {(title, query) for title, query in left if not numbers(scraped.prometheus, query)}
        assert time.monotonic() < deadline_s, (sorted(left), scraped.worker.log_tail())
        if left:
            time.sleep(0.2)
    for title, reason in EMPTY.items():
        for query in (query for panel, query in QUERIES if panel == title):
            assert scraped.prometheus.query(filled(query)) == [], reason


def numbers(server: Prometheus, query: str) -> list[float]:
    """Raises AssertionError where it cannot be parsed."""
    values = [float(one["value"][1]) for one in server.query(query)]
    return [value for value in values if math.isfinite(value)]


@pytest.mark.kafka
@pytest.mark.redis
def test_what_prometheus_learnt_is_what_the_worker_did_and_no_label_is_a_device(scraped: Scraped) -> None:
    server, total = scraped.prometheus, NORMAL_EVENTS + ODD_EVENTS
    until(lambda: numbers(server, "sum(autodeep_records_total)") == [total + 1], scraped.worker.log_tail)
    assert numbers(server, 'autodeep_dead_letters_total{reason="unknown_framing"}') == [1]
    alerts = numbers(server, "sum(autodeep_alerts_total)")
    assert numbers(server, "autodeep_alert_latency_seconds_count") == alerts
    assert alerts[0] > 0
    assert numbers(server, "sum(autodeep_events_total)") == [total]
    assert len(numbers(server, "autodeep_drift_psi")) == len(KDD99.numeric)
    assert all(not re.fullmatch(r"d\d+", value) for label in labels(server) for value in server.values(label))


def labels(server: Prometheus) -> set[str]:
    found = server.query('{__name__=~"autodeep_.+"}')
    return {label for one in found for label in one["metric"]}


@pytest.mark.kafka
@pytest.mark.redis
def test_the_variables_offer_the_worker(scraped: Scraped) -> None:
    for name, wanted in (("job", "autodeep"), ("instance", f"127.0.0.1:{scraped.worker.web_port}")):
        query = VARIABLES[name]["query"]["query"]
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert asked
        assert asked[2] == name
        found = {one["metric"][name] for one in scraped.prometheus.query(filled(asked[1]))}
        assert found == {wanted}
