"""The model that ships: sound, small, and its card's figures are those that it gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streams.adapters.store.models import open_store, shipped
from streams.codec.ingest.kdd import read_rows
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.model.detector import Detector
from streams.training.evaluate import evaluate

TEST_FILE = (
    Path(os.environ.get("AUTODEEP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "kdd99"
    / "corrected.gz"
)


@pytest.fixture(scope="module")
def champion() -> Detector:
    torch.set_num_threads(1)
    return open_store().load("kdd99@champion")


def connection(service: str, flag: str = "SF", protocol: str = "tcp", **numbers: float) -> Rows:
    """One made-up connection; what is not named is 0."""
    values = np.array([[numbers.get(name, 0.0) for name in KDD99.numeric_names]], np.float32)
    symbols = (protocol, service, flag)
    codes = np.array([[c.code(s) for c, s in zip(KDD99.symbolic, symbols, strict=True)]], np.uint8)
    return KDD99.pack(values, codes)


def verdict_of(champion: Detector, row: Rows, repeated: int) -> str:
    rows = np.repeat(row, repeated)
    index = np.maximum(np.arange(1 - champion.width, 1) + repeated - 1, 0)[None]
    valid = np.arange(champion.width)[None] >= champion.width - repeated
    found = champion.classify(champion.encode(rows), index, valid)
    return champion.verdicts[found.verdict[0]]


def test_the_shipped_model_is_sound_and_small(champion: Detector) -> None:
    assert champion.verdicts == ("normal", "probe", "dos", "u2r", "r2l", "novel")
    folder = Path(shipped()) / "kdd99" / champion.identity.version
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 * 2**20


def test_its_card_names_every_figure_that_its_users_need(champion: Detector) -> None:
    card = open_store().describe("kdd99@champion")[1]
    for heading in (
        "Intended use",
        "How it was made",
        "Figures on the official test file",
        "Known blind spots",
    ):
        assert f"## {heading}" in card
    assert "autodeep train kdd99" in card


@pytest.mark.parametrize("repeated", [1, 16])
def test_a_flood_of_half_open_connections_is_dos(champion: Detector, repeated: int) -> None:
    rates: Any = {
        "serror_rate": 1.0,
        "srv_serror_rate": 1.0,
        "dst_host_serror_rate": 1.0,
        "dst_host_srv_serror_rate": 1.0,
    }
    flood = connection(
        "private", "S0", count=200, srv_count=10, same_srv_rate=0.05, dst_host_count=255, **rates,
        diff_srv_rate=0.06, dst_host_srv_count=10, dst_host_same_srv_rate=0.04, dst_host_diff_srv_rate=0.06,
    )  # fmt: skip
    assert verdict_of(champion, flood, repeated) == "dos"


@pytest.mark.parametrize("repeated", [1, 4, 16])
def test_an_ordinary_web_request_is_normal(champion: Detector, repeated: int) -> None:
    request = connection(
        "http", src_bytes=230, dst_bytes=2400, logged_in=1, count=4, srv_count=4, same_srv_rate=1,
        dst_host_count=40, dst_host_srv_count=255, dst_host_same_srv_rate=1, dst_host_same_src_port_rate=0.02,
    )  # fmt: skip
    assert verdict_of(champion, request, repeated) == "normal"


@pytest.mark.data
@pytest.mark.skipif(not TEST_FILE.is_file(), reason="the KDD'99 test file is not here")
def test_the_figures_in_the_manifest_are_those_that_the_model_gives(champion: Detector) -> None:
    manifest, _ = open_store().describe("kdd99@champion")
    found = evaluate(champion, read_rows(TEST_FILE, KDD99)).all_rows
    written = manifest["metrics"]["test"]["all_rows"]
    assert found.accuracy == pytest.approx(written["accuracy"], abs=1e-4)
    assert found.cost == pytest.approx(written["cost"], abs=1e-4)
