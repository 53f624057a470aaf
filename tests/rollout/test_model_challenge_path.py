"""A challenger on real Kafka and Redis: in the shadow no alert changes, as a canary those of a share do."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streams.__main__ import main
from streams.adapters.store.models import open_store
from streams.codec.models import ModelStatus, decode_disagreement
from streams.codec.output.alerts import decode_alert
from streams.core.alerts import Alert
from streams.embedded.kafka import Broker
from streams.model.inference import Canary
from tests.path import DEADLINE_S, path
from tests.rollout.test_model_reload_path import DEVICES, Flow, model, statuses, store

if TYPE_CHECKING:
    from tests.path import TestedPath

__all__ = ["store"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]
SHARE = 0.3
Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Exit code and output of `autodeep models ...` against a path.

    In this process, since a new one imports for seconds.
    """

    def run(tested: TestedPath, *words: str) -> tuple[int, str]:
        with monkeypatch.context() as patched:
            for name, value in {**tested.environment, "COLUMNS": "120"}.items():
                patched.setenv(name, value)
            patched.setattr(sys, "argv", ["autodeep", "models", *words])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run


def report(tested: TestedPath, cli: Cli) -> dict[str, Any]:
    code, out = cli(tested, "report", "--json")
    assert code == 0, out
    found: dict[str, Any] = json.loads(out)
    return found


def judged(tested: TestedPath, enough: Callable[[list[Alert]], bool]) -> list[Alert]:
    """The verdicts so far, once they are enough."""

    found: list[Alert] = []

    def enough_of(messages: Sequence[Any]) -> bool:
        found.extend(decode_alert(message.value()) for message in messages[len(found) :])
        return enough(found)

    tested.read([tested.topics.classified], enough_of)
    return found


def told(tested: TestedPath, enough: Callable[[ModelStatus], bool]) -> ModelStatus:
    """A status with the figures of a comparison, once there is one that is enough."""

    def found(all_told: list[ModelStatus]) -> list[ModelStatus]:
        return [status for status in all_told if status.kind == "challenge" and enough(status)]

    return found(statuses(tested, lambda all_told: bool(found(all_told))))[0]


def test_a_challenger_in_the_shadow_then_as_a_canary_and_dismissed(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path, cli: Cli
) -> None:
    settings = {"model_store": str(store), "model_latency_ratio": "100", "shadow_cpu_share": "1"}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **settings) as tested:
        assert cli(tested, "report")[0] == 3
        worker = tested.worker()
        worker.wait_ready()
        flow = Flow(tested)
        with flow.running():
            in_the_shadow(tested, cli)
            as_a_canary(tested, cli)
            code, out = cli(tested, "dismiss")
            assert (code, out.startswith("dismissed kdd99/2 ")) == (0, True), out
            code, out = cli(tested, "dismiss")
            assert (code, "no challenger" in out) == (3, True), out
        assert model(worker)["problem"] is None
        found = judged(tested, lambda alerts: len({a.event_time_us for a in alerts}) >= flow.sent)
    assert len({alert.event_time_us for alert in found}) == flow.sent


def in_the_shadow(tested: TestedPath, cli: Cli) -> None:
    code, out = cli(tested, "shadow", "kdd99/2")
    assert (code, out.startswith("in the champion's shadow: kdd99/2 (revision 1")) == (0, True), out
    status = told(tested, lambda one: one.figures["scored"] > 500)
    assert status.version == "2"
    found = report(tested, cli)
    assert (found["role"], found["challenger"]["version"], found["workers"]) == ("shadow", "2", 1)
    assert found["figures"]["scored"] > 500
    assert found["promote"].startswith(("not yet", "no"))
    code, out = cli(tested, "report")
    assert (code, "kdd99/2 (shadow) beside kdd99/1" in out) == (0, True), out
    verdicts = {alert.alert_id: alert for alert in judged(tested, lambda alerts: len(alerts) > 500)}
    assert {alert.model_role for alert in verdicts.values()} == {"champion"}
    differing = tested.read([tested.topics.disagreements], lambda messages: len(messages) > 20)
    challenger = open_store(tested.settings.model_store).identify("kdd99/2").digest
    for message in differing:
        one = decode_disagreement(message.value())
        assert one.champion.verdict != one.challenger.verdict
        assert one.challenger.digest == challenger
        if one.alert_id in verdicts:
            assert one.champion.verdict == verdicts[one.alert_id].verdict


def as_a_canary(tested: TestedPath, cli: Cli) -> None:
    assert cli(tested, "canary", "kdd99/2", "--share", "0")[0] == 2
    code, out = cli(tested, "canary", "kdd99/2", "--share", str(SHARE))
    assert (code, out.startswith("canary: kdd99/2 (revision 2")) == (0, True), out
    canary = Canary(open_store(tested.settings.model_store).load("kdd99/2"), SHARE)
    devices = [f"d{i:02d}" for i in range(DEVICES)]
    chosen = {device for device in devices if canary.takes(device)}
    assert 0 < len(chosen) < DEVICES

    def by_the_canary(alerts: list[Alert]) -> list[Alert]:
        return [alert for alert in alerts if alert.model_role == "canary"]

    def enough(alerts: list[Alert]) -> bool:
        counts = Counter(alert.device_id for alert in by_the_canary(alerts))
        return len(counts) >= len(chosen) and min(counts.values()) > 10

    found = judged(tested, enough)
    own = by_the_canary(found)
    assert {alert.device_id for alert in own} == chosen
    assert {(alert.model_version, alert.model_digest) for alert in own} == {
        ("2", canary.detector.identity.digest)
    }
    begun_us = min(alert.event_time_us for alert in own)
    deadline_us = begun_us + 5 * DEVICES  # the first chunks may have been under way
    late = [a for a in found if a.event_time_us > deadline_us and a.model_role == "champion"]
    assert late
    assert not {alert.device_id for alert in late} & chosen
    assert {alert.model_version for alert in late} == {"1"}
    assert report(tested, cli)["canary_share"] == SHARE


def test_a_worker_that_starts_beside_a_running_challenge_takes_part_in_it(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path, cli: Cli
) -> None:
    settings = {"model_store": str(store), "model_latency_ratio": "100", "shadow_cpu_share": "1"}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **settings) as tested:
        first = tested.worker()
        first.wait_ready()
        assert cli(tested, "shadow", "kdd99/2")[0] == 0
        assert first.stop() == 0
        second = tested.worker()
        second.wait_ready()
        deadline_s = time.monotonic() + DEADLINE_S
        while (model(second)["challenger"] or {}).get("version") != "2":  # type: ignore[attr-defined]
            assert time.monotonic() < deadline_s, tested.logs()
            time.sleep(0.05)
        assert model(second)["version"] == "1"
