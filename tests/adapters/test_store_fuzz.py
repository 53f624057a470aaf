"""A whole good model with one value at a time made hostile: it is refused, in one printable line."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from streams.core.tables import FeatureTable
from streams.errors import ModelRejected
from streams.model.artifact import MANIFEST, pack, unpack
from streams.model.detector import Detector
from tests.codec.test_codec_fuzz_fields import places_of
from tests.toy_table import TOY

FILES = pack(Detector.random(TOY, seed=3), "toy", "1", {}, "# A toy\n")
TABLES: dict[str, FeatureTable] = {TOY.name: TOY}
HOSTILE: list[Any] = [None, 10**400, "\ud800\x1b[2J", [[]], {}]
TEXTS = {"transform", "says", "bytes"}
"""For people: any value will do."""


def refused(manifest: dict[str, Any]) -> bool:
    files = {**FILES, MANIFEST: json.dumps(manifest).encode()}
    said = ""
    try:
        unpack(files, "here", TABLES)
    except ModelRejected as exc:
        said = str(exc)
    assert said.isprintable()
    return bool(said)


@pytest.mark.parametrize(
    "section", [key for key in json.loads(FILES[MANIFEST]) if key not in ("name", "version")]
)
def test_a_manifest_with_any_one_of_its_values_hostile_is_refused(section: str) -> None:
    whole = json.loads(FILES[MANIFEST])
    assert not refused(whole)
    taken: set[int] = set()
    inside = list(places_of(whole[section])) if isinstance(whole[section], dict | list) else []
    for container, key in [(whole, section), *inside]:
        if isinstance(container, list) and (key or id(container) in taken):
            continue  # of a list the first is enough
        taken.add(id(container))
        kept = container[key]
        for hostile in HOSTILE:
            container[key] = hostile
            assert refused(whole) or key in TEXTS, (key, hostile)
        container[key] = kept
    lacking = copy.deepcopy(whole)
    del lacking[section]
    assert refused(lacking) or section in ("network", "table")
    assert not refused(whole)
