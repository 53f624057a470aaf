"""What comes into a store and goes out: added folders, retired versions, downloads, stores that are away."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import shutil
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem

from streams.adapters.store.models import ModelStore, open_store
from streams.core.kdd99 import KDD99
from streams.errors import ModelRejected, SettingsError, Unavailable
from streams.model.artifact import CARD, MANIFEST, TENSORS
from streams.model.detector import Detector
from streams.model.differences import differences

DETECTOR = Detector.random(KDD99, seed=5)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of a good version toy/1, in a store of its own."""
    open_store(str(tmp_path / "source")).save(DETECTOR, "toy", "1", {}, "# A toy\n")
    return tmp_path / "source" / "toy" / "1"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTODEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def remote(source: Path) -> Iterator[str]:
    """The URL of a store in memory that has toy/1."""
    root = f"/{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    for path in source.iterdir():
        memory.pipe_file(f"{root}/toy/1/{path.name}", path.read_bytes())
    yield f"memory:/{root}"
    memory.rm(root, recursive=True)


def test_an_added_version_is_byte_for_byte_the_one_that_was_given(
    store: ModelStore, source: Path, tmp_path: Path
) -> None:
    identity = store.add(source)
    added = tmp_path / "store" / "toy" / "1"
    assert {path.name: path.read_bytes() for path in added.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }
    assert store.load("toy/1").identity == identity


def test_a_version_that_exists_is_not_replaced(store: ModelStore, source: Path) -> None:
    store.add(source)
    with pytest.raises(ModelRejected, match="immutable"):
        store.add(source)


def test_files_that_no_model_has_are_not_copied(store: ModelStore, source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("mine")
    store.add(source)
    assert not (tmp_path / "store" / "toy" / "1" / "notes.txt").exists()


def spoil(folder: Path, what: str) -> None:  # noqa: C901  # one table of faults
    """One of the ways in which a folder is not a model; digests fit where the fault is another."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    tensors = folder / TENSORS
    match what:
        case "truncated":
            tensors.write_bytes(tensors.read_bytes()[:-64])
        case "pickle":
            tensors.write_bytes(pickle.dumps({"classifier.output.bias": [0.0] * 5}))
        case "climbs":
            manifest["version"] = "../../1"
        case "climbs in files":
            manifest["files"]["../toy/secret"] = {"sha256": "00"}
        case "another class":
            manifest["classes"][1] = "martians"
        case "another order":
            manifest["classes"].reverse()
        case "another symbol":
            manifest["vocabulary"]["flag"].append("WOW")
        case "another table":
            manifest["feature_table"] = "ab" * 32
        case "no card":
            (folder / CARD).unlink()
    if what in ("truncated", "pickle", "only digests"):
        manifest["files"][TENSORS]["sha256"] = hashlib.sha256(tensors.read_bytes()).hexdigest()
    if what == "wrong digest":
        manifest["files"][TENSORS]["sha256"] = "00" * 32
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("truncated", f"{TENSORS}: is no safetensors file"),
        ("pickle", f"{TENSORS}: is no safetensors file"),
        ("wrong digest", f"{TENSORS}: sha256 is"),
        ("climbs", "names are letters"),
        ("climbs in files", "no file of a model"),
        ("another class", "does not have martians .it has normal, c2, dos, probe, r2l, u2r"),
        ("another order", "must begin with normal"),
        ("another symbol", "flag of this version has no WOW"),
        ("another table", "another feature table .abababababababab…, this version has "),
        ("no card", f"{CARD}: cannot be read"),
    ],
)
def test_what_is_no_sound_model_is_not_added(
    store: ModelStore, source: Path, tmp_path: Path, what: str, says: str
) -> None:
    spoil(source, what)
    with pytest.raises(ModelRejected, match=says) as refused:
        store.add(source)
    assert "\n" not in str(refused.value)
    assert str(tmp_path / "store") not in str(refused.value) or what == "climbs"
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_a_pickle_is_never_opened(store: ModelStore, source: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (source / TENSORS).write_bytes(pickle.dumps(Trap()))
    spoil(source, "only digests")
    with pytest.raises(ModelRejected, match=f"{TENSORS}: is no safetensors file"):
        store.add(source)
    assert not (tmp_path / "sprung").exists()


def test_a_folder_that_is_none_is_refused_by_name(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match=r"nowhere/manifest.json: cannot be read"):
        store.add(tmp_path / "nowhere")


def test_a_retired_version_is_listed_as_such_and_still_loads(store: ModelStore, source: Path) -> None:
    store.add(source)
    store.retire("toy", "1")
    store.retire("toy", "1")
    (entry,) = store.entries()
    assert entry.retired
    assert store.retired("toy") == {"1"}
    assert store.load("toy/1").identity.version == "1"


def test_the_champion_is_not_retired(store: ModelStore, source: Path) -> None:
    store.add(source)
    store.set_alias("toy", "champion", "1")
    with pytest.raises(ModelRejected, match="is the champion"):
        store.retire("toy", "1")
    assert store.retired("toy") == frozenset()


def test_what_does_not_exist_is_not_retired(store: ModelStore, source: Path) -> None:
    store.add(source)
    with pytest.raises(ModelRejected, match="no such version"):
        store.retire("toy", "2")


@pytest.mark.parametrize("text", ["{}", "[1]", "["])
def test_a_list_of_retired_versions_that_is_none_is_refused(
    store: ModelStore, source: Path, tmp_path: Path, text: str
) -> None:
    store.add(source)
    (tmp_path / "store" / "toy" / "retired.json").write_text(text)
    with pytest.raises(ModelRejected, match=r"retired.json"):
        store.retired("toy")


def test_a_version_behind_an_url_is_downloaded_once(
    remote: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = open_store(remote).load("toy/1").identity.digest
    assert sorted(path.name for path in (cache / digest).iterdir()) == sorted([CARD, TENSORS])
    read: list[str] = []
    memory = type(fsspec.filesystem("memory"))
    whole = memory.cat_file

    def counted(self: Any, path: str, *rest: Any, **more: Any) -> bytes:
        read.append(path.rsplit("/", 1)[-1])
        found: bytes = whole(self, path, *rest, **more)
        return found

    monkeypatch.setattr(memory, "cat_file", counted)
    assert open_store(remote).load("toy/1").identity.digest == digest
    assert read == [MANIFEST]


def test_a_damaged_download_is_fetched_again(remote: str, cache: Path) -> None:
    digest = open_store(remote).load("toy/1").identity.digest
    whole = (cache / digest / TENSORS).read_bytes()
    (cache / digest / TENSORS).write_bytes(whole[:100])
    assert open_store(remote).load("toy/1").identity.digest == digest
    assert (cache / digest / TENSORS).read_bytes() == whole


def test_a_download_that_is_not_what_the_manifest_says_is_refused_and_not_kept(
    remote: str, cache: Path
) -> None:
    path = f"{remote.removeprefix('memory:/')}/toy/1/{TENSORS}"
    memory = fsspec.filesystem("memory")
    memory.pipe_file(path, memory.cat_file(path)[:-10])
    with pytest.raises(ModelRejected, match=f"{TENSORS}: sha256"):
        open_store(remote).load("toy/1")
    assert not cache.exists()


def test_a_download_that_breaks_off_leaves_nothing_to_be_seen(
    remote: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the second file: the model serves from memory, and the cache stays empty."""
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == CARD:
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert open_store(remote).load("toy/1").identity.name == "toy"
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_does_not_stop_a_model(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AUTODEEP_CACHE", str(tmp_path / "file"))
    assert open_store(remote).load("toy/1").identity.name == "toy"


def test_an_alias_that_comes_later_is_found_by_a_store_that_is_open(remote: str, cache: Path) -> None:
    opened = open_store(remote)
    with pytest.raises(ModelRejected, match="no alias 'champion'"):
        opened.load("toy@champion")
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"{remote.removeprefix('memory:/')}/toy/aliases.json", b'{"champion": "1"}')
    assert opened.load("toy@champion").identity.version == "1"


def test_a_store_that_is_away_is_unavailable_and_not_empty(cache: Path) -> None:
    """Nobody listens on port 1; a model that is only out of reach must not be called missing."""
    away = open_store("http://127.0.0.1:1/models")
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:1/models") as failed:
        away.load("toy/1")
    assert "\n" not in str(failed.value)


@contextmanager
def server(folder: Path, status: int) -> Iterator[str]:
    """The URL of a web server that answers everything with `status`; 0 hangs up, 200 serves the folder."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            if status == 0:
                self.connection.shutdown(socket.SHUT_RDWR)
                return None
            return super().send_head() if status == 200 else self.send_error(status)

        def log_message(self, format: str, *args: Any) -> None: ...

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with Quiet(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}"
        finally:
            serving.shutdown()
            thread.join()


def test_a_store_behind_a_web_server_is_read(source: Path, cache: Path) -> None:
    with server(source.parents[1], 200) as url:
        assert open_store(url).load("toy/1").identity.name == "toy"
        with pytest.raises(ModelRejected, match=r"toy/2/manifest.json: is missing"):
            open_store(url).load("toy/2")


@pytest.mark.parametrize("status", [0, 403, 500, 503])
def test_a_web_server_in_trouble_is_unavailable_and_does_not_pass_for_an_empty_store(
    source: Path, cache: Path, status: int
) -> None:
    with server(source.parents[1], status) as url:
        for ask in (lambda store: store.load("toy/1"), lambda store: store.retired("toy")):
            with pytest.raises(Unavailable, match=url) as failed:
                ask(open_store(url))
            assert "\n" not in str(failed.value)


class Endless(BaseHTTPRequestHandler):
    """Sends a file without end, and says nothing of its size."""

    sent = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        piece = b"[" * 65_536
        with contextlib.suppress(OSError):  # the reader hangs up
            while Endless.sent < 400 * 2**20:
                self.wfile.write(piece)
                Endless.sent += len(piece)

    def log_message(self, format: str, *args: Any) -> None: ...


def test_no_more_is_read_of_a_file_than_it_may_have_though_its_size_is_not_said() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            with pytest.raises(ModelRejected, match=r"aliases.json: is larger than 8388608 bytes"):
                open_store(f"http://127.0.0.1:{serving.server_address[1]}").aliases("toy")
        finally:
            serving.shutdown()
            thread.join()
    assert Endless.sent < 64 * 2**20


class Odd(AbstractFileSystem):  # type: ignore[misc, unused-ignore]
    """Somebody's file system; what its client raises is of no kind that anybody here has heard of."""

    protocol = "odd"

    class ClientFault(Exception):
        pass

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        raise self.ClientFault("429 slow\ndown")

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[dict[str, Any]]:
        return [{"no name": path}]


def test_whatever_a_file_system_raises_is_a_store_that_is_away() -> None:
    fsspec.register_implementation("odd", Odd, clobber=True)
    store = open_store("odd://models")
    with pytest.raises(Unavailable, match=r"model store odd://models: .*ClientFault: 429 slow down"):
        store.load("toy/1")
    with pytest.raises(Unavailable, match="KeyError"):
        store.entries()


def test_an_archive_that_is_none_is_a_store_that_is_away(tmp_path: Path) -> None:
    """This file system reads as soon as it is made."""
    (tmp_path / "models.zip").write_bytes(b"PK no archive")
    with pytest.raises(Unavailable, match=r"models.zip: .*BadZipFile"):
        open_store(f"zip::file://{tmp_path}/models.zip")


def test_a_damaged_file_in_an_archive_is_a_store_that_is_away(source: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "models"), "zip", source.parents[1])
    whole = Path(archive).read_bytes()
    at = whole.index(b"toy/1/manifest.json") + 200
    Path(archive).write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
    with pytest.raises(Unavailable, match=r"manifest.json cannot be read"):
        open_store(f"zip::file://{archive}").load("toy/1")


def test_a_missing_file_is_missing_though_its_file_system_gives_a_cause(
    remote: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As s3fs does, whose cause is the client's own error."""

    def absent(self: Any, path: str) -> dict[str, Any]:
        raise FileNotFoundError(path) from RuntimeError("NoSuchKey")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "info", absent)
    with pytest.raises(ModelRejected, match="is missing"):
        open_store(remote).load("toy/1")


def test_a_store_behind_an_url_is_not_written_to(remote: str, source: Path) -> None:
    with pytest.raises(SettingsError, match="folders only"):
        open_store(remote).add(source)


def test_differences_are_told_by_section_and_only_where_there_are_any() -> None:
    left = {
        "architecture": {"window": 16, "latent": 8},
        "classes": ["normal", "dos"],
        "training": {"plan": {"seed": 1}},
        "metrics": {"test": {"accuracy": 0.5, "confusion": [[1]]}},
    }
    right = {
        "architecture": {"window": 32, "latent": 8},
        "classes": ["normal", "dos"],
        "training": {"plan": {"seed": 2, "dropout": 0.1}},
        "metrics": {"test": {"accuracy": 0.75, "confusion": [[2]]}},
    }
    assert differences(left, right) == {
        "architecture": {"architecture.window": (16, 32)},
        "plan": {"training.plan.seed": (1, 2), "training.plan.dropout": (None, 0.1)},
        "metrics": {"metrics.test.accuracy": (0.5, 0.75)},
    }
    assert differences(left, left) == {}
