"""A model as files, and back: pure bytes, so that every check is made before anything is served.

`manifest.json` names everything else by sha256, and its own sha256 is the model's identity. No pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from streams.core.tables import FeatureTable, Rows
from streams.core.topics import ATTACK_CLASSES, NORMAL
from streams.core.usual import from_manifest, to_manifest
from streams.errors import ModelRejected
from streams.model.detector import Detector, Identity, OperatingPoint, Parameters
from streams.model.network import Architecture, Network
from streams.model.trees import SIDE_COLUMN, questions

FORMAT: Final = 3
NETWORK: Final = "vae-bigru"
WITH_EVIDENCE: Final = "vae-bigru-evidence"
WITH_TREES: Final = "vae-bigru-evidence-trees"
NETWORKS: Final = (NETWORK, WITH_EVIDENCE, WITH_TREES)
"""The kinds of networks that this version has: a VAE and a bidirectional GRU, model/network.py; the same with
absent columns and monotone evidence, model/evidence.py; and that with trees beside it, model/trees.py."""
_DEFAULT_TABLE: Final = "kdd99"
"""Manifests that were written before there was another table or network name neither."""
TENSORS, MANIFEST, CARD = "model.safetensors", "manifest.json", "MODEL_CARD.md"
FILES: Final = (TENSORS, MANIFEST, CARD)
GOLDEN_TOLERANCE: Final = 1e-4
"""Between kinds of CPU the last bits differ; a wrong tensor or table moves scores by far more."""
_LARGEST_SIZE: Final = 4096
_DEEPEST_TREE: Final = 8
_MOST_GOLDEN: Final = 1 << 16
"""Events in all golden windows together; ours have a few hundred."""
UNFIT: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What our code, numpy and torch raise at numbers, names and shapes that a stranger wrote."""
_FLAGS: Final = ("repetition", "weighed", "masked")
"""Of the architecture: true or false."""
_COLUMNS: Final = ("evidence", "withheld")
"""Of the architecture: places of numbers."""


def pack(
    detector: Detector, name: str, version: str, notes: Mapping[str, object], card: str
) -> dict[str, bytes]:
    """The files of a model. `notes` (training, metrics) go into the manifest as they are."""
    state = {key: value.detach().contiguous() for key, value in detector.network.state_dict().items()}
    files = {TENSORS: save_tensors(state), CARD: card.encode()}
    parameters = detector.parameters
    manifest = {
        **notes,
        "format": FORMAT,
        "name": name,
        "version": version,
        "network": _kind(parameters.shape),
        "table": detector.table.name,
        "feature_table": detector.table.digest.hex(),
        "architecture": _sizes(parameters.shape),
        "classes": parameters.classes,
        "cost": parameters.cost,
        "scaling": {"transform": "log(1 + x)", "low": parameters.low, "high": parameters.high},
        "vocabulary": {
            column.name: [column.symbols[code - 1] for code in codes if code]
            for column, codes in zip(detector.table.symbolic, parameters.seen_codes, strict=True)
        },
        "novelty": {
            "floor": parameters.score_floor,
            "threshold": parameters.score_threshold,
            "decay": parameters.score_decay,
            "unknown_offset": parameters.unknown_offset,
            "unknown_slope": parameters.unknown_slope,
        },
        "calibration": {"temperature": parameters.temperature, "log_prior": parameters.log_prior},
        "operating_points": {
            point: dataclasses.asdict(of) for point, of in parameters.operating_points.items()
        },
        "default": parameters.default_point,
        **({"usual": to_manifest(detector.table, parameters.usual)} if parameters.usual else {}),
        "golden": _golden(detector),
        "files": {
            file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for file, data in files.items()
        },
    }
    return {**files, MANIFEST: json.dumps(manifest, indent=1, allow_nan=False).encode()}


def unpack(files: Mapping[str, bytes], where: str, tables: Mapping[str, FeatureTable]) -> Detector:
    """The detector in `files`, of one of these tables (by name), after every check.

    Raises ModelRejected: which file, and why.
    """
    manifest = read_manifest(files[MANIFEST], where)
    verify_digests(files, manifest, where)
    table = _table(manifest, tables, where)
    try:
        parameters = _parameters(manifest, table)
    except UNFIT as exc:
        _reject(where, MANIFEST, str(exc) if type(exc) is ValueError else f"{type(exc).__name__}: {exc}")
    tensors = _checked_tensors(files[TENSORS], parameters.shape, where)
    network = Network.random(parameters.shape, 0)
    network.load_state_dict(tensors)
    if parameters.shape.trees:
        try:
            network.trees.check(len(questions(table, parameters.shape.evidence)))
        except ValueError as exc:
            _reject(where, TENSORS, str(exc))
    identity = Identity(
        str(manifest["name"]), str(manifest["version"]), hashlib.sha256(files[MANIFEST]).hexdigest()
    )
    try:
        detector = Detector(identity, parameters, network)
        difference = _golden_difference(detector, manifest["golden"])
    except UNFIT as exc:
        _reject(where, MANIFEST, f"its golden vectors cannot be used ({type(exc).__name__}: {exc})")
    if not difference <= GOLDEN_TOLERANCE:
        _reject(
            where,
            TENSORS,
            f"results are {difference:.2g} off the golden vectors ({GOLDEN_TOLERANCE:g} at most)",
        )
    return Detector(identity, parameters, network, golden_difference=difference)


def read_manifest(data: bytes, where: str) -> dict[str, Any]:
    """The manifest as a mapping, with the keys that identify a model in it."""
    try:
        manifest = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        _reject(where, MANIFEST, f"is no JSON ({exc})")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        _reject(where, MANIFEST, f"is of a format that this version does not read (it reads {FORMAT})")
    if not isinstance(manifest.get("files"), dict) or TENSORS not in manifest["files"]:
        _reject(where, MANIFEST, f"does not list {TENSORS}")
    if not (isinstance(manifest.get("name"), str) and isinstance(manifest.get("version"), str)):
        _reject(where, MANIFEST, "lacks a name or a version")
    return manifest


def verify_digests(files: Mapping[str, bytes], manifest: Mapping[str, Any], where: str) -> None:
    """Every file that the manifest lists is there and is the one that was written."""
    for file, wanted in manifest["files"].items():
        if file not in files:
            _reject(where, file, "is missing")
        found = hashlib.sha256(files[file]).hexdigest()
        expected = wanted.get("sha256") if isinstance(wanted, dict) else None
        if found != expected:
            _reject(where, file, f"sha256 is {found[:16]}…, the manifest says {str(expected)[:16]}…")


def _table(manifest: Mapping[str, Any], tables: Mapping[str, FeatureTable], where: str) -> FeatureTable:
    """The table of the model's events; its network is of a kind that this version has."""
    network = str(manifest.get("network", NETWORK))
    if network not in NETWORKS:
        says = f"names the network {network[:60]!r}; this version has {' and '.join(NETWORKS)} alone"
        _reject(where, MANIFEST, f"{says}, so a later version is needed to serve it")
    name = str(manifest.get("table", _DEFAULT_TABLE))
    table = tables.get(name)
    if table is None:
        known = ", ".join(sorted(tables))
        _reject(where, MANIFEST, f"names the feature table {name[:60]!r}; this version has {known}")
    ours, theirs = table.digest.hex(), str(manifest.get("feature_table"))
    if theirs != ours:
        says = f"the model was trained on another feature table ({theirs[:16]}…, this version has "
        _reject(where, MANIFEST, f"{says}{ours[:16]}…); train it anew")
    return table


def _kind(shape: Architecture) -> str:
    if shape.trees:
        return WITH_TREES
    return WITH_EVIDENCE if shape.masked or shape.evidence or shape.withheld else NETWORK


def _sizes(shape: Architecture) -> dict[str, Any]:
    """The architecture as it stands in the manifest: the keys are the table's."""
    sizes = dataclasses.asdict(shape)
    del sizes["keys"]
    return sizes


def _parameters(manifest: Mapping[str, Any], table: FeatureTable) -> Parameters:
    sizes = dict(manifest["architecture"])
    given = {"bins": tuple(sizes["bins"]), "symbols": tuple(sizes["symbols"]), "keys": table.key_places}
    for name in _COLUMNS:
        if not isinstance(sizes.get(name, []), list):
            raise ValueError(f"architecture: {name} is no list of columns")
        given[name] = tuple(sizes.get(name, ()))
    shape = Architecture(**{**sizes, **given})
    _check(shape, table, str(manifest.get("network", NETWORK)))
    novelty, calibration = manifest["novelty"], manifest["calibration"]
    return Parameters(
        table=table,
        shape=shape,
        classes=_taxonomy(manifest["classes"]),
        low=_numbers(manifest["scaling"]["low"]),
        high=_numbers(manifest["scaling"]["high"]),
        seen_codes=tuple(
            _vocabulary(column.name, column.symbols, manifest["vocabulary"][column.name])
            for column in table.symbolic
        ),
        cost=tuple(_numbers(row) for row in manifest["cost"]),
        score_floor=_numbers([novelty["floor"]])[0],
        score_threshold=_numbers([novelty["threshold"]])[0],
        score_decay=_numbers([novelty["decay"]])[0],
        unknown_offset=_numbers([novelty["unknown_offset"]])[0],
        unknown_slope=_numbers([novelty["unknown_slope"]])[0],
        temperature=_numbers([calibration["temperature"]])[0],
        log_prior=_numbers(calibration["log_prior"]),
        operating_points=MappingProxyType(_points(manifest["operating_points"])),
        default_point=str(manifest["default"]),
        usual=MappingProxyType(from_manifest(table, manifest.get("usual"))),
    )


def _check(shape: Architecture, table: FeatureTable, network: str) -> None:
    """Raises ValueError where it cannot be one of this table and this kind of network."""
    _check_fields(shape, len(table.numeric))
    if _kind(shape) != network:
        raise ValueError(f"architecture: is of the network {_kind(shape)}")
    if (shape.evidence or shape.withheld) and not shape.masked:
        raise ValueError("architecture: evidence and what is withheld need a network of absent columns")
    _check_trees(shape, table)
    if shape.numbers != len(table.numeric) or shape.symbols != tuple(of.size for of in table.symbolic):
        raise ValueError("architecture: numbers or symbols are not those of the feature table")
    if min(shape.window, shape.latent, shape.gru_hidden, shape.vae_hidden) < 1 or shape.classes < 2:
        raise ValueError("architecture: a size is too small")


def _check_trees(shape: Architecture, table: FeatureTable) -> None:
    if bool(shape.trees) != bool(shape.tree_depth) or shape.tree_depth > _DEEPEST_TREE:
        raise ValueError(f"architecture: trees are some, of a depth of 1 to {_DEEPEST_TREE}, or none of 0")
    if shape.trees and not (shape.evidence and SIDE_COLUMN in table.symbolic_names):
        raise ValueError("architecture: trees need evidence, and a table that says who began")


def _check_fields(shape: Architecture, numbers: int) -> None:
    """Each by itself; the table has so many numbers."""
    if not all(type(size) is int and 1 <= size <= _LARGEST_SIZE for size in shape.bins):
        raise ValueError(f"architecture: bins are not whole numbers of 1 to {_LARGEST_SIZE}")
    for field in dataclasses.fields(shape):
        value = getattr(shape, field.name)
        if field.name in _FLAGS:
            if type(value) is not bool:
                raise ValueError(f"architecture: {field.name} is neither true nor false")
        elif field.name in _COLUMNS:
            if not all(type(place) is int and 0 <= place < numbers for place in value):
                raise ValueError(f"architecture: {field.name} names a column that is no number of the table")
        elif field.name not in ("bins", "symbols", "keys") and not (
            type(value) is int and 0 <= value <= _LARGEST_SIZE
        ):
            raise ValueError(
                f"architecture: {field.name} is {value!r}, not a whole number up to {_LARGEST_SIZE}"
            )


def _points(of: Mapping[str, Any]) -> dict[str, OperatingPoint]:
    return {
        str(name): OperatingPoint(_numbers([point["false_alarm_factor"]])[0], str(point.get("says", "")))
        for name, point in of.items()
    }


def _taxonomy(classes: list[Any]) -> tuple[str, ...]:
    """The classes, normal first: those whose alerts have a topic."""
    unknown = [str(name) for name in classes if name not in (NORMAL, *ATTACK_CLASSES)]
    if unknown:
        known = ", ".join((NORMAL, *ATTACK_CLASSES))
        raise ValueError(f"classes: this version does not have {', '.join(unknown)[:100]} (it has {known})")
    if classes[:1] != [NORMAL] or len(set(classes)) != len(classes):
        raise ValueError(f"classes: must begin with {NORMAL} and name each once")
    return tuple(classes)


def _vocabulary(name: str, known: Sequence[str], symbols: list[Any]) -> tuple[int, ...]:
    """Codes of the symbols that training saw."""
    unknown = [str(symbol) for symbol in symbols if symbol not in known]
    if unknown:
        raise ValueError(f"vocabulary: {name} of this version has no {', '.join(unknown)[:100]}")
    return tuple(known.index(symbol) + 1 for symbol in symbols)


def _numbers(values: list[Any]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    return numbers


def _checked_tensors(data: bytes, shape: Architecture, where: str) -> dict[str, torch.Tensor]:
    """The tensors that the architecture asks for. A file that lacks them costs no memory of their size."""
    try:
        tensors: dict[str, torch.Tensor] = load_tensors(data)
    except (SafetensorError, ValueError) as exc:
        _reject(where, TENSORS, f"is no safetensors file ({exc})")
    with torch.device("meta"):  # shapes without memory
        wanted = Network(shape).state_dict()
    if tensors.keys() != wanted.keys():
        difference = ", ".join(sorted(tensors.keys() ^ wanted.keys())[:3])
        _reject(where, TENSORS, f"tensors differ from the architecture's: {difference}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != torch.float32:
            got, want = (*tensor.shape,), (*wanted[name].shape,)
            _reject(where, TENSORS, f"{name} is {tensor.dtype} {got}, the architecture says float32 {want}")
        if not torch.isfinite(tensor).all():
            _reject(where, TENSORS, f"{name} holds a value that is not finite")
    return tensors


def _golden(detector: Detector) -> dict[str, object]:
    """A few made-up events in windows, and what the model makes of them. No data set's rows."""
    rng = np.random.default_rng(20)
    count, table = 12, detector.table
    numbers = np.stack(
        [
            np.round(rng.random(count) if column.is_rate else np.expm1(rng.uniform(0, 7, count)), 2)
            for column in table.numeric
        ],
        1,
    ).astype(np.float32)
    codes = np.stack([rng.integers(0, column.size, count) for column in table.symbolic], 1).astype(np.uint8)
    index = rng.integers(0, count, (count, detector.width))
    history = rng.integers(1, detector.width + 1, count)
    result = _golden_result(detector, table.pack(numbers, codes), index, history)
    return {
        "numbers": [[round(float(value), 2) for value in row] for row in numbers],
        "codes": codes.tolist(),
        "index": index.tolist(),
        "history": history.tolist(),
        "expected": result.tolist(),
    }


def _golden_result(
    detector: Detector, rows: Rows, index: np.ndarray[Any, Any], history: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Posterior and novelty of each window, `history` events long. (N, C + 1)."""
    valid = np.arange(detector.width) >= (detector.width - history)[:, None]
    found = detector.classify(detector.encode(rows), index, valid)
    return np.concatenate((found.posterior, found.novelty[:, None]), 1)


def _golden_difference(detector: Detector, golden: Mapping[str, Any]) -> float:
    numbers, codes = np.array(golden["numbers"], np.float32), np.array(golden["codes"], np.uint8)
    rows = detector.table.pack(numbers, codes)
    if len(golden["index"]) * detector.width > _MOST_GOLDEN:
        raise ValueError(f"windows of more than {_MOST_GOLDEN} events in all")
    index, history = np.array(golden["index"], np.int64), np.array(golden["history"], np.int64)
    if index.shape != (len(rows), detector.width) or not 0 <= index.min() <= index.max() < len(rows):
        raise ValueError("windows of another shape")
    result = _golden_result(detector, rows, index, history)
    expected = np.array(golden["expected"], np.float64)
    if expected.shape != result.shape:
        raise ValueError("results of another shape")
    return float(np.abs(result - expected).max())


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _reject(where: str, file: str, says: str) -> NoReturn:
    raise ModelRejected(f"{where}/{file}: {says}")
