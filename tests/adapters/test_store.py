"""The model store's laws: what was written is what is served, and anything else is refused with its name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from streams.adapters.store.models import ModelStore, open_store
from streams.codec.models import ModelRef
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH, WindowLayout
from streams.errors import ModelRejected, SettingsError
from streams.model.artifact import CARD, MANIFEST, TENSORS
from streams.model.detector import Detector, Identity
from streams.model.network import Network
from streams.rollout.loading import load

DETECTOR = Detector.random(KDD99, seed=3)
USUAL: dict[str, Any] = {
    **dict.fromkeys(KDD99.numeric_names, (0, 1)),
    **dict.fromkeys(KDD99.symbolic_names, ("unknown",)),
}
NOTES = {"training": {"made_up": True}, "metrics": {}}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    found = open_store(str(tmp_path))
    found.save(DETECTOR, "toy", "1", NOTES, "# A toy\n")
    found.set_alias("toy", "champion", "1")
    return found


@pytest.fixture
def folder(tmp_path: Path, store: ModelStore) -> Path:
    return tmp_path / "toy" / "1"


def resign(folder: Path, change: Callable[[dict[str, Any]], None] = lambda manifest: None) -> None:
    """Rewrite the manifest with a change, and digests that fit the files as they are now."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for file in manifest["files"]:
        manifest["files"][file]["sha256"] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def retensor(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_tensors((folder / TENSORS).read_bytes())
    change(tensors)
    (folder / TENSORS).write_bytes(save_tensors(tensors))
    resign(folder)


def test_a_saved_model_comes_back_bit_for_bit_under_alias_and_version(
    store: ModelStore, folder: Path
) -> None:
    by_alias, by_version = store.load("toy@champion"), store.load("toy/1")
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert by_alias.identity == by_version.identity == Identity("toy", "1", digest)
    assert by_alias.parameters == DETECTOR.parameters
    for name, tensor in DETECTOR.network.state_dict().items():
        assert torch.equal(by_alias.network.state_dict()[name], tensor)
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((50, DETECTOR.latent_size)).astype(np.float32)
    index, valid = rng.integers(0, 50, (50, 16)), np.ones((50, 16), bool)
    assert np.array_equal(
        by_alias.classify(latents, index, valid).posterior, DETECTOR.classify(latents, index, valid).posterior
    )


def test_versions_are_immutable_and_nothing_half_written_stays(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="immutable"):
        store.save(DETECTOR, "toy", "1", NOTES, "")
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["1", "aliases.json"]


def test_entries_list_versions_with_their_aliases_and_tell_broken_ones(
    store: ModelStore, folder: Path
) -> None:
    store.save(DETECTOR, "toy", "2", NOTES, "")
    (folder / MANIFEST).write_text("{")
    first, second = store.entries()
    assert (first.version, first.aliases) == ("1", ("champion",))
    assert "manifest.json: is no JSON" in first.problem
    assert (second.version, second.aliases, second.problem) == ("2", (), "")


@pytest.mark.parametrize(
    "ref",
    [
        "toy",
        "toy/..",
        "../toy/1",
        "toy/../../etc",
        "/etc/passwd",
        "toy@",
        "@champion",
        "toy@../x",
        "",
        "toy/1/x",
    ],
)
def test_references_that_are_no_names_are_refused(store: ModelStore, ref: str) -> None:
    with pytest.raises(ModelRejected, match="names no model"):
        store.load(ref)


def test_a_missing_model_version_or_alias_is_named(store: ModelStore) -> None:
    with pytest.raises(ModelRejected, match="no model 'other'"):
        store.load("other@champion")
    with pytest.raises(ModelRejected, match=r"toy/9/manifest.json: is missing"):
        store.load("toy/9")
    with pytest.raises(ModelRejected, match=r"no alias 'challenger' \(it has: champion\)"):
        store.load("toy@challenger")


def test_a_missing_file_is_named(store: ModelStore, folder: Path) -> None:
    (folder / TENSORS).unlink()
    with pytest.raises(ModelRejected, match=f"{TENSORS}: is missing"):
        store.load("toy/1")


@pytest.mark.parametrize("file", [TENSORS, CARD])
def test_one_altered_byte_is_found(store: ModelStore, folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[-1] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(ModelRejected, match=f"{file}: sha256"):
        store.load("toy/1")


def test_a_header_that_claims_10_gb_is_refused(store: ModelStore, folder: Path) -> None:
    data = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(struct.pack("<Q", 10 * 2**30) + data[8:])
    resign(folder)
    with pytest.raises(ModelRejected, match="no safetensors file"):
        store.load("toy/1")


def test_a_truncated_tensor_file_is_refused_even_when_signed(store: ModelStore, folder: Path) -> None:
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-100])
    resign(folder)
    with pytest.raises(ModelRejected, match="no safetensors file"):
        store.load("toy/1")


def test_a_weight_that_is_not_finite_is_refused(store: ModelStore, folder: Path) -> None:
    retensor(folder, lambda tensors: tensors["classifier.output.bias"].fill_(float("nan")))
    with pytest.raises(ModelRejected, match=r"classifier.output.bias holds a value that is not finite"):
        store.load("toy/1")


def test_a_tensor_of_another_shape_name_or_type_is_refused(store: ModelStore, folder: Path) -> None:
    original = (folder / TENSORS).read_bytes()
    retensor(folder, lambda tensors: tensors.update({"classifier.output.bias": torch.zeros(4)}))
    with pytest.raises(ModelRejected, match=r"classifier.output.bias is .* \(4,\)"):
        store.load("toy/1")
    (folder / TENSORS).write_bytes(original)
    retensor(folder, lambda tensors: tensors.update({"more": torch.zeros(4)}))
    with pytest.raises(ModelRejected, match=r"tensors differ .* more"):
        store.load("toy/1")
    (folder / TENSORS).write_bytes(original)
    retensor(folder, lambda tensors: tensors.update({"vae.mean.bias": tensors["vae.mean.bias"].half()}))
    with pytest.raises(ModelRejected, match="float16"):
        store.load("toy/1")


def test_other_weights_of_the_right_shape_fail_the_golden_vectors(store: ModelStore, folder: Path) -> None:
    retensor(folder, lambda tensors: tensors["classifier.forwards.U"].mul_(-1))
    with pytest.raises(ModelRejected, match="golden vectors"):
        store.load("toy/1")


def test_sizes_that_the_tensors_do_not_have_cost_no_memory(store: ModelStore, folder: Path) -> None:
    """Of these sizes a network has 535 MiB."""

    def enlarge(manifest: dict[str, Any]) -> None:
        manifest["architecture"] |= {"vae_hidden": 4096, "embedding_hidden": 4096, "gru_hidden": 4096}

    resign(folder, enlarge)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelRejected, match=rf"{TENSORS}: .* the architecture says float32 "):
        store.load("toy/1")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 * 1024


def test_more_golden_events_than_a_model_needs_are_refused(store: ModelStore, folder: Path) -> None:
    resign(folder, set_path("golden", "index", value=[[0] * DETECTOR.width] * 70_000))
    with pytest.raises(ModelRejected, match=r"golden vectors .* more than 65536 events"):
        store.load("toy/1")


def test_a_model_serves_where_windows_are_as_wide_as_it_looks(store: ModelStore) -> None:
    ref, width = ModelRef("toy", "1", ""), DETECTOR.width
    assert load(store, ref, WindowLayout(KDD99, width)).width == width
    with pytest.raises(ModelRejected, match=f"looks at {width} events; windows keep {width - 1}"):
        load(store, ref, WindowLayout(KDD99, width - 1))
    wide = dataclasses.replace(DETECTOR.parameters.shape, window=2 * WIDTH)
    parameters = dataclasses.replace(DETECTOR.parameters, shape=wide)
    store.save(Detector(DETECTOR.identity, parameters, Network.random(wide, 1)), "toy", "2", NOTES, "")
    with pytest.raises(ModelRejected, match=f"windows keep {WIDTH}"):
        load(store, ModelRef("toy", "2", ""), WindowLayout(KDD99))
    assert load(store, ModelRef("toy", "2", ""), WindowLayout(KDD99, 2 * WIDTH)).width == 2 * WIDTH


def set_path(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        inner = manifest
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_path("feature_table", value="00"), "feature table"),
        (set_path("format", value=1), "format"),
        (set_path("architecture", "latent", value=10**9), "latent is 1000000000"),
        (set_path("architecture", "latent", value="16"), "latent is '16'"),
        (set_path("architecture", "surprise", value=1), "surprise"),
        (set_path("architecture", "repetition", value=1), "repetition is neither true nor false"),
        (set_path("architecture", "weighed", value=1), "weighed is neither true nor false"),
        (set_path("architecture", "bins", value=[3]), "feature table"),
        (set_path("architecture", "window", value=0), "too small"),
        (set_path("classes", value=["normal", "dos"]), "cost matrix"),
        (set_path("scaling", "low", value=[0.0]), "min-max"),
        (set_path("scaling", "low", value=[float("nan")] * 38), "no JSON number|NaN"),
        (set_path("vocabulary", "flag", value=["NO"]), "flag of this version has no NO"),
        (set_path("architecture", "window", value=10**400), "manifest.json"),
        (set_path("scaling", "low", value=[10**400] * 38), "OverflowError"),
        (set_path("operating_points", value=[1]), "AttributeError"),
        (set_path("vocabulary", value=None), "manifest.json"),
        (set_path("novelty", "threshold", value=0), "threshold"),
        (set_path("novelty", value={}), "floor"),
        (set_path("usual", value=5), "manifest.json"),
        (set_path("usual", value={"normal": {}}), "duration"),
        (set_path("usual", value={"normal": {**USUAL, "count": [2, 1]}}), "lower one first"),
        (set_path("usual", value={"normal": {**USUAL, "flag": ["\x1b[2J"]}}), "a flag that this version"),
        (set_path("usual", value={"martian": USUAL}), "a class that the model does not have"),
        (set_path("golden", value={}), "golden"),
        (set_path("golden", "index", value=[[99]]), "golden"),
        (set_path("golden", "codes", value=[[256, -1, 0]] * 12), "golden"),
        (set_path("files", value={}), "does not list"),
        (set_path("files", "../../secret", value={"sha256": ""}), "no file of a model"),
        (set_path("name", value="other"), "is other/1, not toy/1"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_by_name(
    store: ModelStore, folder: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    resign(folder, change)
    with pytest.raises(ModelRejected, match=says) as refused:
        store.load("toy/1")
    assert str(folder) in str(refused.value)


def test_a_model_from_before_repetition_and_weights_loads_and_is_scored_by_its_negative_elbo(
    tmp_path: Path,
) -> None:
    made = Detector.random(KDD99, 1)
    shape = dataclasses.replace(made.parameters.shape, repetition=False, weighed=False)
    before = Detector(
        made.identity, dataclasses.replace(made.parameters, shape=shape), Network.random(shape, 1)
    )
    store = open_store(str(tmp_path))
    store.save(before, "toy", "1", {}, "card")

    def older(manifest: dict[str, Any]) -> None:
        del manifest["architecture"]["repetition"]
        del manifest["architecture"]["weighed"]

    resign(tmp_path / "toy" / "1", older)
    loaded = store.load("toy/1")
    window = np.zeros((1, loaded.width, loaded.latent_size), np.float32)
    assert loaded.novelties(window, np.ones((1, loaded.width), bool))[1].tolist() == [0.0]
    assert not loaded.network.vae.weighed


def test_what_is_usual_may_be_missing_or_of_some_classes_alone(store: ModelStore, folder: Path) -> None:
    assert store.load("toy/1").parameters.usual == {}
    resign(folder, set_path("usual", value={"dos": USUAL}))
    assert [*store.load("toy/1").parameters.usual] == ["dos"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": NaN}', "\xff"])
def test_a_manifest_that_is_no_manifest_is_refused(store: ModelStore, folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(ModelRejected, match=MANIFEST):
        store.load("toy/1")


@pytest.mark.parametrize("text", ["[]", "{", '{"champion": "../.."}', '{"champion": 1}'])
def test_an_alias_file_that_cannot_be_used_is_refused(store: ModelStore, folder: Path, text: str) -> None:
    (folder.parent / "aliases.json").write_text(text)
    with pytest.raises(ModelRejected, match=r"aliases.json"):
        store.load("toy@champion")


def test_an_alias_cannot_point_at_a_version_that_does_not_exist(store: ModelStore) -> None:
    with pytest.raises(ModelRejected, match="no such version"):
        store.set_alias("toy", "champion", "2")


def test_names_that_could_leave_the_store_are_not_written(store: ModelStore) -> None:
    with pytest.raises(ModelRejected, match="names are letters"):
        store.save(DETECTOR, "..", "1", NOTES, "")


def test_an_url_of_an_unknown_kind_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="martian"):
        open_store("martian://x")


def test_a_store_behind_an_url_is_read_through_fsspec(folder: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in folder.iterdir():
        memory.pipe_file(f"/models/toy/1/{path.name}", path.read_bytes())
    assert open_store("memory://models").load("toy/1").identity.name == "toy"
    with pytest.raises(SettingsError, match="folders only"):
        open_store("memory://models").save(DETECTOR, "toy", "2", NOTES, "")
