"""Which model judges which offset: by the list of switches, however the offsets are cut into chunks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.models import ModelRef, Switch
from streams.core.events import Chunk, Source
from streams.core.kdd99 import KDD99
from streams.model.detector import Detector, Identity
from streams.rollout.admission import BESIDE, Admission
from streams.rollout.loading import ref_of
from streams.rollout.switches import KEPT, appended, leading_part, model_at

BASE = Detector.random(KDD99, seed=1)
TOPICS = [uuid.UUID(int=1), uuid.UUID(int=2)]
VERSIONS = "123456"


def detector(version: str) -> Detector:
    return BASE.renamed(Identity("m", version, version.rjust(64, "0")))


def ref(version: str) -> ModelRef:
    return ref_of(detector(version))


@dataclass(frozen=True)
class Record:
    offset: int
    timestamp: int = 0


def chunk(offsets: list[int], partition: int = 0, topic: uuid.UUID = TOPICS[0]) -> Chunk:
    records: Any = [Record(offset) for offset in offsets]
    return Chunk(Source("ids.telemetry", topic, partition), records, 1000)


def parts(switches: tuple[Switch, ...], whole: Chunk) -> list[Chunk]:
    """What is judged one after the other, each by one model."""
    found: list[Chunk] = []
    rest: Chunk | None = whole
    while rest is not None:
        found.append(leading_part(switches, rest))
        rest = rest.cut(len(found[-1].records))[1]
    return found


def judged(admission: Admission, whole: Chunk) -> list[tuple[int, str]]:
    """Each offset, and the version that judges it; what is taken of the chunk comes off its queue."""
    found: list[tuple[int, str]] = []
    rest: Chunk | None = whole
    for _ in range(2 * len(whole.records)):  # each record is held at most once
        if rest is None:
            break
        admitted = admission.admit([rest])
        assert admitted.chunks or admitted.held, "neither begun nor held"
        for part, judge in zip(admitted.chunks, admitted.judges, strict=True):
            assert rest is not None
            assert part.records == rest.records[: len(part.records)]
            found += [(record.offset, ref_of(judge).version) for record in part.records]
            rest = rest.cut(len(part.records))[1]
    assert rest is None, "held for ever"
    return found


FROM = st.dictionaries(st.sampled_from(["0", "1"]), st.integers(0, 60), max_size=2)
SWITCHES = st.lists(
    st.builds(Switch, st.sampled_from(VERSIONS).map(ref), FROM, st.sampled_from([*map(str, TOPICS), ""])),
    max_size=5,
).map(tuple)
OFFSETS = st.sets(st.integers(0, 70), min_size=1).map(sorted)
CHUNKS = st.builds(chunk, OFFSETS, st.integers(0, 2), st.sampled_from(TOPICS))


def as_the_list_says(switches: tuple[Switch, ...], source: Source, offset: int) -> ModelRef:
    """Read from the oldest on: each entry that begins at or before the offset takes over."""
    said = switches[0].model
    for switch in switches:
        named = switch.from_offsets if switch.topic_id == str(source.topic_id) else {}
        if str(source.partition) not in named or offset >= named[str(source.partition)]:
            said = switch.model
    return said


@settings(deadline=None)
@given(SWITCHES, CHUNKS)
def test_a_chunk_is_cut_where_the_model_changes_and_nothing_is_lost_or_moved(
    switches: tuple[Switch, ...], whole: Chunk
) -> None:
    found = parts(switches, whole)
    assert [record for part in found for record in part.records] == list(whole.records)
    assert all(part.records for part in found)
    assert {(part.source, part.end_offset) for part in found} == {(whole.source, whole.end_offset)}
    for part in found:
        assert len({model_at(switches, part.source, record.offset) for record in part.records}) == 1


@settings(deadline=None)
@given(SWITCHES.filter(bool), CHUNKS, st.integers(1, 8))
def test_whatever_the_chunking_each_offset_has_the_model_that_the_list_says(
    switches: tuple[Switch, ...], whole: Chunk, size: int
) -> None:
    """By what is admitted, which has a few models at hand and loads the others."""
    admission = Admission(detector("0"), lambda ref: detector(ref.version), lambda work: work())
    admission.plan(1, switches)
    expected = [
        (record.offset, as_the_list_says(switches, whole.source, record.offset).version)
        for record in whole.records
    ]
    found: list[tuple[int, str]] = []
    for start in range(0, len(whole.records), size):
        small = Chunk(whole.source, whole.records[start : start + size], whole.end_offset)
        found += judged(admission, small)
    assert found == expected


def test_without_a_list_the_one_that_serves_judges_all() -> None:
    admission = Admission(detector("1"))
    whole = chunk([3, 4, 9])
    admitted = admission.admit([whole])
    assert (admitted.chunks, admitted.held) == ((whole,), {})
    assert admitted.judges == (admission.serving,)


def test_a_partition_added_later_and_a_topic_made_anew_have_the_newest_of_their_time() -> None:
    switches = (
        Switch(ref("1"), {}, ""),
        Switch(ref("2"), {"0": 50}, str(TOPICS[0])),
        Switch(ref("3"), {"0": 60, "1": 9}, str(TOPICS[0])),
    )
    judged = {
        (partition, offset, topic): model_at(switches, chunk([0], partition, topic).source, offset)
        for partition, offset, topic in [
            (0, 49, TOPICS[0]), (0, 50, TOPICS[0]), (0, 60, TOPICS[0]), (1, 8, TOPICS[0]), (1, 9, TOPICS[0]),
            (2, 0, TOPICS[0]), (0, 0, TOPICS[1]),
        ]
    }  # fmt: skip
    assert [found.version for found in judged.values() if found is not None] == list("1232333")


def test_a_new_list_begins_with_the_champion_before_and_the_newest_are_kept() -> None:
    first = appended((), ref("1"), Switch(ref("2"), {"0": 5}, "t"))
    assert first == (Switch(ref("1"), {}, ""), Switch(ref("2"), {"0": 5}, "t"))
    longest: tuple[Switch, ...] = first
    for offset in range(20):
        longest = appended(longest, ref("9"), Switch(ref("3"), {"0": 10 + offset}, "t"))
    assert len(longest) == KEPT
    assert [switch.from_offsets["0"] for switch in longest] == list(range(14, 30))


def test_a_model_that_is_not_at_hand_does_not_let_another_judge() -> None:
    admission, part = Admission(detector("1")), chunk([7])
    admission.plan(1, (Switch(ref("1"), {}, ""), Switch(ref("2"), {"0": 5}, str(TOPICS[0]))))
    admitted = admission.admit([part])
    assert (admitted.chunks, admitted.judges) == ((), ())
    assert "m/2 judges" in admitted.held[part.source.place]


def test_an_admitted_model_judges_though_it_is_let_go_meanwhile_and_few_are_kept() -> None:
    admission, part = Admission(detector("1")), chunk([7])
    admission.plan(1, (Switch(ref("2"), {}, ""),))
    admission.keep(detector("2"))
    (judge,) = admission.admit([part]).judges
    for version in "345":
        admission.keep(detector(version))
    assert [v for v in VERSIONS if admission.at_hand(ref(v)) is not None] == ["1", *"45"[-BESIDE:]]
    assert ref_of(judge) == ref("2")


@pytest.mark.parametrize("version", ["2", "3"])
def test_a_model_kept_again_is_the_newest_of_those_kept(version: str) -> None:
    admission = Admission(detector("1"))
    for kept in ("2", "3", version, "4"):
        admission.keep(detector(kept))
    assert [v for v in VERSIONS if admission.at_hand(ref(v)) is not None] == ["1", version, "4"]


def test_an_older_plan_does_not_undo_a_newer_one_and_an_empty_one_lets_models_go() -> None:
    admission, part = Admission(detector("1")), chunk([7])
    admission.plan(3, (Switch(ref("1"), {}, ""), Switch(ref("2"), {"0": 5}, str(TOPICS[0]))))
    admission.plan(2, ())
    assert not admission.admit([part]).chunks
    admission.keep(detector("2"))
    assert judged(admission, part) == [(7, "2")]
    admission.plan(4, ())
    assert admission.at_hand(ref("2")) is None
    assert judged(admission, part) == [(7, "1")]
