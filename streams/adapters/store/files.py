"""The bytes of a model store: any file system of fsspec, its errors translated; and a cache of downloads.

A cached version lies in a folder named by its manifest's sha256. It is written under a temporary name and
renamed when whole, so that nobody sees half of it, and checked each time that it is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from streams.errors import ModelRejected, Unavailable
from streams.legible import without_user_info

log: Final = logging.getLogger("autodeep.store")

LARGEST_FILE_BYTES: Final = 256 * 2**20
_GONE: Final = (404, 410)
"""HTTP statuses of what is not there."""


class StoreFiles:
    """Reading below one root; `url` is how messages name it. Paths are relative to the root."""

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self.url = without_user_info(url)
        self._fs = filesystem
        self._root = root

    @property
    def is_local(self) -> bool:
        names = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol
        return "file" in names

    def exists(self, path: str) -> bool:
        """Not fsspec's own `exists`, which takes a store that does not answer for an empty one."""
        return self._ask(path, self._fs.info) is not None

    def find(self, path: str) -> bytes | None:
        """The file's bytes; None where there is no such file. Raises ModelRejected for one too large."""
        size = self._ask(path, lambda whole: self._fs.info(whole).get("size") or 0)
        if size is None:
            return None
        if size > LARGEST_FILE_BYTES:
            raise ModelRejected(
                f"{self.url}/{path}: has {size} bytes; a model's file has {LARGEST_FILE_BYTES} at most"
            )
        data: bytes | None = self._ask(path, self._fs.cat_file)
        return data

    def read(self, path: str) -> bytes:
        """Raises ModelRejected where the file is missing."""
        data = self.find(path)
        if data is None:
            raise ModelRejected(f"{self.url}/{path}: is missing")
        return data

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; none where it does not exist."""
        found = self._ask(path, lambda whole: self._fs.ls(whole, detail=True)) or ()
        names = [
            str(one["name"]).rstrip("/").rsplit("/", 1)[-1] for one in found if one["type"] == "directory"
        ]
        return sorted(names)

    def forget_listings(self) -> None:
        """Some file systems remember listings as long as the process lives; a new version is not in them."""
        self._fs.invalidate_cache()

    def _ask(self, path: str, question: Callable[[str], Any]) -> Any:
        """The file system's answer, None where there is no such path. Raises Unavailable."""
        try:
            return question(f"{self._root}/{path}".rstrip("/"))
        except (FileNotFoundError, NotADirectoryError) as exc:
            if _hides_trouble(exc.__cause__):
                self._unavailable(path, exc.__cause__ or exc)
            return None
        except _client_errors() as exc:
            self._unavailable(path, exc)

    def _unavailable(self, path: str, exc: BaseException) -> NoReturn:
        says = " ".join(str(getattr(exc, "strerror", None) or exc or type(exc).__name__).split())
        raise Unavailable(f"model store {self.url}: {path} cannot be read: {says}") from exc


def _client_errors() -> tuple[type[BaseException], ...]:
    """OSError, and what the clients of remote file systems raise beside it; of those that are in use."""
    named = (
        ("aiohttp", "ClientError"),
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("gcsfs.retry", "HttpError"),
    )
    return (OSError, *(kind for module, name in named for kind in _loaded(module, name)))


def _loaded(module: str, name: str) -> tuple[type[BaseException], ...]:
    kind = getattr(sys.modules.get(module), name, None)
    return (kind,) if isinstance(kind, type) else ()


def _hides_trouble(cause: BaseException | None) -> bool:
    """Whether "not found" stands for something else: fsspec's http says it whatever goes wrong.

    Others give the server's own "no such key" as the cause, which is what it says.
    """
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return status not in _GONE
    return isinstance(cause, (OSError, *_loaded("aiohttp", "ClientError")))


def cache_folder() -> Path | None:
    """$AUTODEEP_CACHE/models, or ~/.cache/autodeep-id/models; None for a user without a home."""
    named = os.environ.get("AUTODEEP_CACHE")
    try:
        return (Path(named) if named else Path.home() / ".cache" / "autodeep-id") / "models"
    except RuntimeError:  # a container's user id of which the system knows nothing
        return None


def cached(files: StoreFiles, folder: str, manifest: bytes, digests: Mapping[str, str]) -> dict[str, bytes]:
    """The files of one version (name to sha256 in `digests`): from the cache, or downloaded into it.

    What is in the cache but not as it was written is downloaded anew. A cache that is not there or cannot be
    written is no reason to fail: the files are then held in memory only.
    """
    cache = cache_folder()
    if cache is None:
        log.warning("models are not kept: this user has no home; set AUTODEEP_CACHE to a folder")
        return {name: files.read(f"{folder}/{name}") for name in digests}
    place = cache / hashlib.sha256(manifest).hexdigest()
    found = {name: _cached_file(place / name, digest) for name, digest in digests.items()}
    whole = {name: data for name, data in found.items() if data is not None}
    if len(whole) == len(digests):
        return whole
    fresh = {name: files.read(f"{folder}/{name}") for name in digests}
    if all(hashlib.sha256(data).hexdigest() == digests[name] for name, data in fresh.items()):
        _keep(place, fresh)
    return fresh


def write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder, whole or not at all. Raises OSError, also where it exists and is not empty."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        temporary.chmod(0o755)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already where all went well


def write_file(path: Path, data: bytes) -> None:
    """Replace one file in one step. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _cached_file(path: Path, digest: str) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _keep(place: Path, files: Mapping[str, bytes]) -> None:
    try:
        if place.exists():  # damaged: it was asked first
            shutil.rmtree(place, ignore_errors=True)
        write_folder(place, files)
    except OSError as exc:
        if not place.exists():  # else another process was faster
            log.warning("models are not kept in %s: %s", place.parent, exc.strerror or exc)
