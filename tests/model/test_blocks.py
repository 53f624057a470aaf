"""The sizes of blocks: in them a row has the same bits, with the kernels for several processors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from streams.model.blocks import BLOCK_ROWS, FEW_ROWS, MANY_ROWS, blocks, padded

LAW = """
import numpy as np, torch
from streams.core.kdd99 import KDD99
from streams.model.detector import Detector
from tests.model.test_detector import some_rows
torch.set_num_threads(1)
rng = np.random.default_rng(3)
for window, embedding in ((8, 16), (2, 0), (16, 16)):
    detector = Detector.random(KDD99, 5, window, embedding)
    rows = some_rows(rng, 1152)
    index, valid = rng.integers(0, len(rows), (len(rows), window)), rng.random((len(rows), window)) < 0.7
    latents, surprise = detector.encode(rows), detector.surprise(rows)
    every = detector.classify(latents, index, valid)
    for count in (*range(1, 66, 3), 100, 129, 400, 513, 700, 1000, 1025):
        for _ in range(2):
            some = rng.permutation(len(rows))[:count]
            assert np.array_equal(detector.encode(rows[some]), latents[some]), (window, count)
            assert np.array_equal(detector.surprise(rows[some]), surprise[some]), (window, count)
            found = detector.classify(latents, index[some], valid[some])
            assert np.array_equal(found.posterior, every.posterior[some]), (window, count)
            assert np.array_equal(found.novelty, every.novelty[some]), (window, count)
"""


@pytest.mark.parametrize(("mkl", "aten"), [("AVX2", "avx2"), ("SSE4_2", "default")])
def test_a_row_has_the_same_bits_in_blocks_of_every_size_with_lesser_kernels(mkl: str, aten: str) -> None:
    """The libraries choose at their start; where a processor has no better ones, this repeats its own."""
    kernels = {"MKL_ENABLE_INSTRUCTIONS": mkl, "ATEN_CPU_CAPABILITY": aten}
    environment = {**os.environ, **kernels, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", LAW], check=False, env=environment, capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 0, told.stderr


def test_blocks_cover_every_row_once_and_are_padded_to_a_size_that_was_measured() -> None:
    for rows in range(1500):
        slices = list(blocks(rows))
        assert [place for of in slices for place in range(rows)[of]] == list(range(rows))
        for of in slices:
            count = of.stop - of.start
            assert count <= padded(count) < count + MANY_ROWS
            assert count <= BLOCK_ROWS
            assert padded(count) in FEW_ROWS or padded(count) % MANY_ROWS == 0
