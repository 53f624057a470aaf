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
from typing import Any, Final

from streams.errors import ModelRejected, Unavailable
from streams.legible import without_secrets

log: Final = logging.getLogger("autodeep.store")

LARGEST_FILE_BYTES: Final = 256 * 2**20
LARGEST_TEXT_BYTES: Final = 8 * 2**20
"""Of a manifest, and of a list of aliases or retired versions: JSON takes many times its size in memory."""
_PIECE_BYTES: Final = 2**20
_GONE: Final = (404, 410)
"""HTTP statuses of what is not there."""


class StoreFiles:
    """Reading below one root; `url` is how messages name it. Paths are relative to the root."""

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self.url = without_secrets(url)
        self._fs = filesystem
        self._root = root

    @property
    def is_local(self) -> bool:
        names = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol
        return "file" in names

    def exists(self, path: str) -> bool:
        """Not fsspec's own `exists`, which takes a store that does not answer for an empty one."""
        return self._ask(path, self._fs.info) is not None

    def find(self, path: str, most_bytes: int = LARGEST_FILE_BYTES) -> bytes | None:
        """The file's bytes; None where there is no such file. Raises ModelRejected for one too large.

        No more is read than may be: a web server need not say a size, and need not keep to what it said.
        """
        size = self._ask(path, lambda whole: self._fs.info(whole).get("size") or 0)
        if size is None:
            return None
        data: bytes | None = None
        if size <= most_bytes:
            data = self._ask(path, lambda whole: self._bytes(whole, size, most_bytes + 1))
            size = len(data or b"")
        if size > most_bytes:
            raise ModelRejected(f"{self.url}/{path}: is larger than {most_bytes} bytes, the most it may have")
        return data

    def read(self, path: str, most_bytes: int = LARGEST_FILE_BYTES) -> bytes:
        """Raises ModelRejected where the file is missing."""
        data = self.find(path, most_bytes)
        if data is None:
            raise ModelRejected(f"{self.url}/{path}: is missing")
        return data

    def folders(self, path: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; none where it does not exist."""

        def names(whole: str) -> list[str]:
            found = self._fs.ls(whole, detail=True)
            return [
                str(one["name"]).rstrip("/").rsplit("/", 1)[-1] for one in found if one["type"] == "directory"
            ]

        return sorted(self._ask(path, names) or ())

    def forget_listings(self) -> None:
        """Some file systems remember listings as long as the process lives; a new version is not in them."""
        self._fs.invalidate_cache()

    def _bytes(self, whole: str, size: int, most_bytes: int) -> bytes:
        """The file's first bytes, at most so many."""
        if size and "http" not in self._fs.protocol:
            return bytes(self._fs.cat_file(whole, 0, most_bytes))
        # Asked for a range, fsspec's http takes whatever is sent; with no block size it reads piece by piece.
        streamed = {"block_size": 0, "size": size or None} if "http" in self._fs.protocol else {}
        data = bytearray()
        with self._fs.open(whole, "rb", **streamed) as file:
            while part := file.read(min(_PIECE_BYTES, most_bytes - len(data))):
                data += part
        return bytes(data)

    def _ask(self, path: str, question: Callable[[str], Any]) -> Any:
        """The file system's answer, None where there is no such path. Raises Unavailable.

        A file system is somebody's plug-in, over a client of somebody else's. Their errors have no root in
        common but Exception, and whatever is raised here is one of theirs.
        """
        try:
            return question(f"{self._root}/{path}".rstrip("/"))
        except (FileNotFoundError, NotADirectoryError) as exc:
            if not _hides_trouble(exc.__cause__):
                return None
            raise unavailable(self.url, path, exc.__cause__ or exc) from exc
        except Exception as exc:
            raise unavailable(self.url, path, exc) from exc


def unavailable(url: str, path: str, exc: BaseException) -> Unavailable:
    """What a file system raised, as one line."""
    says = " ".join(str(getattr(exc, "strerror", None) or exc)[:300].split()) or type(exc).__name__
    if not isinstance(exc, OSError):
        says = f"{type(exc).__name__}: {says}"
    return Unavailable(f"model store {url}: {path or 'it'} cannot be read: {says}")


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
