"""The gate lets through what is as good as the champion, and says of the rest what it measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from streams.adapters.store.models import open_store
from streams.core.decisions import CONTEST_CLASSES
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.model.detector import Detector, Identity, Verdicts
from streams.model.gate import Check, Limits, examine, hostile_rows, refusal, standard_rows

FEW = Limits(batch_rows=64, repeats=3)


class Timeline:
    """A clock that only the detectors under test move on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Timed(Detector):
    """A detector whose micro-batches take the given times, the last one again and again."""

    def __init__(self, clock: Timeline, *times_s: float, of: Detector | None = None) -> None:
        found = of or Detector.random(KDD99, seed=1)
        super().__init__(
            found.identity, found.parameters, found.network, golden_difference=found.golden_difference
        )
        self._clock, self._times_s = clock, list(times_s)

    def encode(self, rows: Rows) -> npt.NDArray[np.float32]:
        if len(rows) == FEW.batch_rows:
            self._clock.now_s += self._times_s.pop(0) if len(self._times_s) > 1 else self._times_s[0]
        return super().encode(rows)


def narrower() -> Detector:
    """A detector of the first four classes."""
    full = Detector.random(KDD99, seed=2)
    shape = dataclasses.replace(full.parameters.shape, classes=4)
    parameters = dataclasses.replace(
        full.parameters,
        shape=shape,
        classes=CONTEST_CLASSES[:4],
        log_prior=full.parameters.log_prior[:4],
        cost=tuple(row[:4] for row in full.parameters.cost[:4]),
    )
    from streams.model.network import Network

    return Detector(Identity("narrow", "1", "00"), parameters, Network.random(shape, 0))


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_model_as_fast_as_the_champion_passes_every_check() -> None:
    clock = Timeline()
    checks = examine(Timed(clock, 0.010), Timed(clock, 0.010), FEW, clock)
    assert [check.name for check in checks] == ["hostile vectors", "classes", "latency"]
    assert refusal(checks) == ""


@pytest.mark.parametrize(("candidate_s", "passed"), [(0.0119, True), (0.0121, False), (0.005, True)])
def test_more_than_the_allowed_multiple_of_the_champions_latency_is_refused(
    candidate_s: float, passed: bool
) -> None:
    clock = Timeline()
    checks = examine(Timed(clock, candidate_s), Timed(clock, 0.010), FEW, clock)
    assert by_name(checks)["latency"].passed is passed


def test_a_refusal_says_which_check_with_measured_and_allowed_values() -> None:
    clock = Timeline()
    limits = dataclasses.replace(FEW, latency_ratio=1.5)
    said = refusal(examine(Timed(clock, 0.020), Timed(clock, 0.010), limits, clock))
    assert said == "latency: measured 2.00 x the champion's (20.00 ms and 10.00 ms), allowed 1.5 x"


def test_a_slow_first_run_and_a_busy_moment_do_not_count() -> None:
    """The warm-up takes 9 s and one repeat 5 s; the least of the others is what the candidate can do."""
    clock = Timeline()
    checks = examine(Timed(clock, 9.0, 5.0, 0.010), Timed(clock, 0.010), FEW, clock)
    assert by_name(checks)["latency"].passed


def test_a_model_that_knows_fewer_classes_is_refused_unless_forced() -> None:
    clock = Timeline()
    champion = Timed(clock, 1.0)
    refused = by_name(examine(narrower(), champion, FEW, clock))["classes"]
    assert (refused.passed, refused.measured) == (False, f"lacks {CONTEST_CLASSES[4]}")
    forced = dataclasses.replace(FEW, allow_narrower=True)
    assert by_name(examine(narrower(), champion, forced, clock))["classes"].passed


def test_each_micro_batch_is_followed_by_a_rest_of_its_own_length_and_the_rests_are_not_measured() -> None:
    clock, rests = Timeline(), list[float]()

    def rest(spent_s: float) -> None:
        rests.append(round(spent_s, 6))
        clock.now_s += 100.0

    checks = examine(Timed(clock, 0.011), Timed(clock, 0.010), FEW, clock, rest)
    assert refusal(checks) == ""
    assert rests == [0.010, 0.011] * (1 + FEW.repeats)


def test_a_large_micro_batch_is_run_in_pieces_so_that_events_wait_for_one_of_them_only() -> None:
    rests = list[float]()
    limits = Limits(batch_rows=300, repeats=1)
    examine(Detector.random(KDD99), Detector.random(KDD99), limits, Timeline(), rests.append)
    assert len(rests) == 3 * 2 * (1 + limits.repeats)


@pytest.mark.parametrize(("candidate_s", "repeats"), [(0.010, 5), (0.0109, 5), (0.0115, 15), (0.013, 15)])
def test_what_is_clear_after_five_repeats_is_measured_no_further(candidate_s: float, repeats: int) -> None:
    clock, runs = Timeline(), list[float]()
    limits = dataclasses.replace(FEW, repeats=15)
    examine(Timed(clock, candidate_s), Timed(clock, 0.010), limits, clock, runs.append)
    assert len(runs) == 2 * (1 + repeats)


def test_more_classes_than_the_champion_has_are_welcome() -> None:
    clock = Timeline()
    assert by_name(examine(Timed(clock, 1.0), narrower(), FEW, clock))["classes"].passed


def test_force_opens_no_other_check() -> None:
    clock = Timeline()
    forced = dataclasses.replace(FEW, allow_narrower=True)
    assert refusal(examine(Timed(clock, 2.0), Timed(clock, 1.0), forced, clock)).startswith("latency")


def test_the_first_champion_is_compared_with_nobody() -> None:
    checks = examine(Detector.random(KDD99), None, FEW, Timeline())
    assert [(check.name, check.passed) for check in checks] == [("hostile vectors", True)]


def spoilt_weight() -> Detector:
    detector = Detector.random(KDD99)
    with torch.no_grad():
        detector.network.classifier.output.bias.fill_(float("inf"))
    return detector.at("")  # compiled anew


class SpoiltNovelty(Detector):
    def classify(
        self, latents: npt.NDArray[np.float32], index: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]
    ) -> Verdicts:
        found = super().classify(latents, index, valid)
        return dataclasses.replace(found, novelty=np.full_like(found.novelty, np.nan))


def spoilt_novelty() -> Detector:
    found = Detector.random(KDD99)
    return SpoiltNovelty(found.identity, found.parameters, found.network)


@pytest.mark.parametrize("spoilt", [spoilt_weight, spoilt_novelty])
def test_outputs_that_are_not_finite_are_refused(spoilt: Callable[[], Detector]) -> None:
    (check,) = examine(spoilt(), None, FEW, Timeline())
    assert (check.name, check.passed) == ("hostile vectors", False)
    assert int(check.measured.split()[0]) > 0


def test_a_model_from_a_store_tells_how_far_it_is_off_its_golden_vectors(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.save(Detector.random(KDD99), "toy", "1", {}, "")
    check = by_name(examine(store.load("toy/1"), None, FEW, Timeline()))["golden vectors"]
    assert check.passed
    assert check.measured.endswith("off")


def test_the_shipped_model_passes_its_own_gate_by_the_real_clock() -> None:
    import time

    shipped = open_store().load("kdd99@champion")
    checks = examine(shipped, shipped, Limits(latency_ratio=5.0, repeats=3), time.perf_counter)
    assert refusal(checks) == ""


def test_hostile_rows_are_what_the_gate_promises() -> None:
    rows = hostile_rows(KDD99)
    assert rows["numbers"][0].max() == 0
    assert rows["numbers"][1].min() == np.finfo(np.float32).max
    assert rows["codes"][2].max() == 0


def test_the_standard_micro_batch_is_the_same_each_time() -> None:
    assert np.array_equal(standard_rows(KDD99, 64), standard_rows(KDD99, 64))


@pytest.mark.parametrize(
    "make", [lambda: Limits(latency_ratio=0), lambda: Limits(repeats=0), lambda: Limits(batch_rows=0)]
)
def test_limits_that_measure_nothing_are_refused(make: Callable[[], Limits]) -> None:
    with pytest.raises(ValueError, match="gate needs"):
        make()
