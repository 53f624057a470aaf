"""A model of a table that is not KDD'99's: detector, gate, explanation and files take what they are given."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from streams.adapters.store.models import ModelStore, open_store
from streams.codec.models import ModelRef
from streams.core.alerts import Explanation
from streams.core.events import Events, Source
from streams.core.kdd99 import KDD99
from streams.core.usual import Usual
from streams.core.windows import WindowLayout, advance
from streams.errors import ModelRejected
from streams.model.comparison import beyond_training
from streams.model.detector import Detector
from streams.model.drivers import explanations, value_text
from streams.model.explanation import Explainer, key_columns
from streams.model.gate import Limits, examine, hostile_rows, refusal, standard_rows
from streams.model.inference import infer_from_rows
from streams.model.network import KEYS
from streams.rollout.loading import load, of_table
from tests.toy_table import TOY

DETECTOR = Detector.random(TOY, seed=1)
BOTH = MappingProxyType({table.name: table for table in (KDD99, TOY)})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    found = open_store(str(tmp_path), tables=BOTH)
    found.save(DETECTOR, "toy", "1", {}, "# A toy\n")
    return found


def rewritten(folder: Path, **changed: Any) -> None:
    """Its manifest with changes; None takes a key out."""
    path = folder / "toy" / "1" / "manifest.json"
    manifest = {**json.loads(path.read_bytes()), **changed}
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))


def test_standard_rows_have_and_lack_each_column_that_may_be_absent() -> None:
    there = TOY.present(standard_rows(TOY, 64))
    share = dict(zip(TOY.names, there.mean(0).tolist(), strict=True))
    assert all(0 < share[name] < 1 for name in TOY.optional)
    assert all(share[name] == 1 for name in share.keys() - TOY.optional)


def test_hostile_rows_of_a_table_with_optional_columns_end_with_one_that_lacks_them() -> None:
    there = TOY.present(hostile_rows(TOY))
    assert there[:4].all()
    assert {TOY.names[i] for i in np.flatnonzero(~there[4])} == TOY.optional
    assert len(hostile_rows(KDD99)) == 4


def test_it_passes_the_gate() -> None:
    checks = examine(DETECTOR, DETECTOR, Limits(latency_ratio=1e9, batch_rows=64, repeats=1), lambda: 0.0)
    assert [check.name for check in checks] == ["hostile vectors", "classes", "latency"]
    assert refusal(checks[:2]) == ""


def test_events_are_compared_by_the_tables_own_key_columns() -> None:
    numbers, codes = np.full((2, 5), 9, np.float32), np.array([[2, 1, 3], [1, 1, 3]], np.uint8)
    numbers[1, TOY.numeric_names.index("packets")] = 7  # no key
    keys = DETECTOR.features(TOY.pack(numbers, codes)).keys
    scaled = np.log1p(9) / 12
    assert keys[0].tolist() == pytest.approx([3, 2, scaled, scaled])  # application, state, bytes out and in
    assert keys[1].tolist() == pytest.approx([3, 1, scaled, scaled])
    assert DETECTOR.network.repetition.shape == (TOY.symbolic[2].size, DETECTOR.width)
    assert keys.shape[1] == KEYS


def test_verdicts_from_its_packed_windows_are_those_of_its_rows() -> None:
    rows, source, layout = standard_rows(TOY, 20), Source("t", TOPIC_ID, 0), WindowLayout(TOY, 12)
    windows, found = layout.blank(1, source), []
    for part in (slice(0, 3), slice(3, 20)):
        offset = np.arange(20)[part]
        events = Events(np.arange(len(offset)), offset, offset, ["a"] * len(offset), rows[part])
        step = advance(windows, np.zeros(len(offset), np.int64), events, 10**6)
        found.append(infer_from_rows(DETECTOR, windows, step, events.rows))
        windows = layout.unpack([step.windows[0].tobytes()], source)
    index = np.arange(20)[:, None] - np.arange(DETECTOR.width)[::-1]
    wanted = DETECTOR.classify(DETECTOR.encode(rows), np.maximum(index, 0), index >= 0)
    assert np.array_equal(np.concatenate([one.posterior for one in found]), wanted.posterior)
    assert np.array_equal(np.concatenate([one.novelty for one in found]), wanted.novelty)


TOPIC_ID = uuid.UUID(int=5)


def explained(verdict: int) -> tuple[Explanation, ...]:
    rows = standard_rows(TOY, 4 * DETECTOR.width).reshape(4, -1)
    valid = np.ones(rows.shape, bool)
    chosen = np.full(4, verdict)
    shares = Explainer(DETECTOR).shares(rows, valid, chosen)
    assert shares.columns.shape == (4, len(TOY.names))
    sizes = np.abs(np.concatenate((shares.columns, shares.events), 1)).sum(1)
    np.testing.assert_allclose(sizes, 1.0, atol=1e-9)
    return tuple(explanations(DETECTOR, (rows, valid), chosen, np.ones(4, np.int64), most=8))


@pytest.mark.parametrize("verdict", [0, 2, len(DETECTOR.classes)])
def test_its_verdicts_are_explained_by_its_columns(verdict: int) -> None:
    for explanation in explained(verdict):
        assert explanation.features
        assert {driver.feature for driver in explanation.features} <= {*TOY.names}


def test_a_column_that_is_not_there_says_so() -> None:
    needed = np.array([[name not in TOY.optional for name in TOY.names]])
    row = TOY.pack(np.full((1, 5), 3, np.float32), np.ones((1, 3), np.uint8), needed)
    shown = {name: value_text(TOY, row, place) for place, name in enumerate(TOY.names)}
    assert shown == {
        **{"bytes_in": "3", "packets": "3", "interval_s": "absent", "bytes_out": "3", "share": "absent"},
        **{"state": "open", "vlan": "absent", "application": "dns"},
    }
    assert [TOY.names[place] for place in key_columns(TOY)] == [*TOY.keys]


def test_a_column_that_is_not_there_can_drive_a_verdict_and_is_replaced_by_one_that_is() -> None:
    """The most usual event has every column: a row that lacks one differs from it in that one alone."""
    explainer, place = Explainer(DETECTOR), TOY.names.index("vlan")
    like = explainer.reference
    assert like["codes"][0, place - len(TOY.numeric)] > 0, "its absence makes a difference to the model"
    needed = np.array([[name != "vlan" for name in TOY.names]])
    row = TOY.pack(like["numbers"], like["codes"], needed)
    valid = np.arange(DETECTOR.width)[None] == DETECTOR.width - 1
    shares = explainer.shares(np.repeat(row, DETECTOR.width)[None], valid, np.array([1]))
    assert np.flatnonzero(shares.columns[0]).tolist() == [place]


def test_what_is_absent_lies_beyond_no_training_range() -> None:
    needed = np.array([[name not in TOY.optional for name in TOY.names]] * 2)
    numbers, codes = np.full((2, 5), 3, np.float32), np.zeros((2, 3), np.uint8)
    numbers[:, TOY.numeric_names.index("share")] = 3  # a rate beyond 1
    assert beyond_training(DETECTOR, TOY.pack(numbers, codes)) == (2, 6)
    assert beyond_training(DETECTOR, TOY.pack(numbers, codes, needed)) == (0, 4)


def test_its_files_name_table_and_network_and_load_where_the_table_is_known(
    store: ModelStore, tmp_path: Path
) -> None:
    manifest, _ = store.describe("toy/1")
    assert (manifest["table"], manifest["network"]) == ("toy", "vae-bigru")
    assert "keys" not in manifest["architecture"], "they are the table's"
    loaded = store.load("toy/1")
    assert loaded.table == TOY
    assert loaded.parameters == DETECTOR.parameters
    with pytest.raises(ModelRejected, match="names the feature table 'toy'; this version has flow, kdd99"):
        open_store(str(tmp_path)).load("toy/1")


def test_a_model_that_names_neither_is_kdd99s_and_of_the_first_kind(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.save(Detector.random(KDD99, seed=1), "toy", "1", {}, "# KDD'99\n")
    rewritten(tmp_path, table=None, network=None)
    assert store.load("toy/1").table == KDD99


def test_another_kind_of_network_is_refused(store: ModelStore, tmp_path: Path) -> None:
    rewritten(tmp_path, network="transformer")
    with pytest.raises(ModelRejected, match="names the network 'transformer'; this version has vae-bigru"):
        store.load("toy/1")


def test_another_tables_digest_is_refused(store: ModelStore, tmp_path: Path) -> None:
    rewritten(tmp_path, feature_table=KDD99.digest.hex())
    with pytest.raises(ModelRejected, match="another feature table"):
        store.load("toy/1")


def test_it_does_not_serve_where_another_table_is_served(store: ModelStore) -> None:
    ref = ModelRef("toy", "1", "")
    assert load(store, ref, WindowLayout(TOY)).table == TOY
    with pytest.raises(ModelRejected, match="toy/1: judges events of the feature table toy; kdd99 is served"):
        load(store, ref, WindowLayout(KDD99))
    assert of_table(DETECTOR, TOY) is DETECTOR


def test_what_is_usual_must_describe_the_tables_columns() -> None:
    usual = Usual(((0.0, 3.0),) * 5, (("open",), ("plant", "unknown"), ("dns",)))
    usual.check(TOY)
    with pytest.raises(ValueError, match="not 38 ranges and 3 lists"):
        usual.check(KDD99)
    with pytest.raises(ValueError, match="a vlan that this version does not have"):
        Usual(usual.numbers, (("open",), ("moon",), ("dns",))).check(TOY)
