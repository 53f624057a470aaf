"""A worker's figures as JSON: the same text each time, and nothing that is not ours is taken for them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.workers import (
    LARGEST_BYTES,
    LONGEST_TEXT,
    FiguresUnreadable,
    decode_figures,
    encode_figures,
)
from streams.core.workers import ServedModel, WorkerFigures

FIGURES = WorkerFigures(
    worker="pod-1-7-ab12",
    host="pod-1",
    version="0.1.0",
    group="autodeep-id",
    started_at_us=1_795_000_000_000_000,
    at_us=1_795_000_060_000_000,
    expires_at_us=1_795_000_105_000_000,
    role="active",
    ready=False,
    why_not="Redis is away",
    partitions={"ids.telemetry": [0, 3]},
    models=(ServedModel("kdd99", "8", "ab" * 32, 2, "9"),),
    events_per_s=1234.5,
    lag_records=17,
    latency_p50_s=0.06,
    latency_p99_s=None,
    servers={"Kafka": "", "Redis": "Redis is away"},
)
GOLDEN = (
    '{"worker":"pod-1-7-ab12","host":"pod-1","version":"0.1.0","group":"autodeep-id",'
    '"started_at_us":1795000000000000,"at_us":1795000060000000,"expires_at_us":1795000105000000,"role":"active",'
    '"ready":false,"why_not":"Redis is away","partitions":{"ids.telemetry":[0,3]},'
    f'"models":[{{"family":"kdd99","version":"8","digest":"{"ab" * 32}","generation":2,'
    '"challenger":"9"}],"events_per_s":1234.5,"lag_records":17,"latency_p50_s":0.06,"latency_p99_s":null,'
    '"servers":{"Kafka":"","Redis":"Redis is away"}}'
).encode()
KEY = b"pod-1-7-ab12"


def test_the_bytes_on_the_topic_are_these_and_are_read_back() -> None:
    assert encode_figures(FIGURES) == GOLDEN
    assert decode_figures(KEY, GOLDEN) == FIGURES


def test_fields_of_a_newer_writer_are_passed_over() -> None:
    fields = {**json.loads(GOLDEN), "mood": "good"}
    assert decode_figures(KEY, json.dumps(fields).encode()) == FIGURES


def test_texts_are_cut_and_half_of_a_surrogate_pair_does_no_harm() -> None:
    long = replace(FIGURES, why_not="x" * 9999, servers={"Redis": "\ud800" * 9999})
    read = decode_figures(KEY, encode_figures(long))
    assert (len(read.why_not), len(read.servers["Redis"])) == (LONGEST_TEXT, LONGEST_TEXT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("worker", 7), ("worker", "another"), ("at_us", 1.5), ("at_us", 2**70), ("ready", 1), ("role", None),
        ("role", "\ud800"), ("events_per_s", "fast"), ("latency_p50_s", "-"), ("partitions", [1]),
        ("partitions", {"t": 1}), ("partitions", {"t": [-1]}), ("partitions", {"t": [10**9]}),
        ("partitions", {"t": [True]}), ("models", {}), ("models", ["m"]), ("models", [{"family": "m"}]),
        ("servers", {"Redis": 1}), ("servers", None),
    ],
)  # fmt: skip
def test_a_field_of_another_kind_makes_it_unreadable(field: str, value: Any) -> None:
    with pytest.raises(FiguresUnreadable):
        decode_figures(KEY, json.dumps({**json.loads(GOLDEN), field: value}).encode())


@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", b"[]", b"[" * 100_000, b"{}", GOLDEN + b" " * LARGEST_BYTES]
)
def test_what_is_no_such_object_is_unreadable(value: bytes | None) -> None:
    with pytest.raises(FiguresUnreadable):
        decode_figures(KEY, value)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(sorted(json.loads(GOLDEN))), ANY_JSON)
def test_any_json_in_a_field_is_read_or_refused(field: str, value: Any) -> None:
    with contextlib.suppress(FiguresUnreadable):
        decode_figures(KEY, json.dumps({**json.loads(GOLDEN), field: value}).encode())


def test_figures_belong_to_the_worker_that_is_the_key() -> None:
    with pytest.raises(FiguresUnreadable, match="key"):
        decode_figures(b"pod-2", GOLDEN)
    with pytest.raises(FiguresUnreadable, match="key"):
        decode_figures(None, GOLDEN)
