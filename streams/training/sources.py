"""The data sets: which files they have, where their publishers keep them, and how to know them again."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from streams.errors import DataError, Unavailable

_CHUNK_BYTES: Final = 1 << 18
Progress = Callable[[int, int | None], None]
"""Progress of the bytes that are here, and of all bytes where the server says how many."""


@dataclass(frozen=True, slots=True)
class DataFile:
    name: str  # as stored, gzip
    sha256: str  # of the decompressed text: a publisher may compress anew
    url: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which a copy may lie: as we store it, or unpacked."""
        return self.name, self.name.removesuffix(".gz")


@dataclass(frozen=True, slots=True)
class DataSet:
    name: str
    train: DataFile
    test: DataFile
    others: tuple[DataFile, ...]
    licence: str

    @property
    def files(self) -> tuple[DataFile, ...]:
        return self.train, self.test, *self.others


_UCI: Final = "https://kdd.ics.uci.edu/databases/kddcup99"
KDD99: Final = DataSet(
    "kdd99",
    train=DataFile(
        "kddcup.data_10_percent.gz",
        "f8c8267ebcd9c0ed1fd7d6277fe5bfff8732e9b7db8e61b873542b2a534b6f9a",
        f"{_UCI}/kddcup.data_10_percent.gz",
    ),
    test=DataFile(
        "corrected.gz",
        "547dfb9c0f0dc1d9944219ec79e851191faebaeb8acbfa1cd171c418397052a4",
        f"{_UCI}/corrected.gz",
    ),
    others=(),
    licence="UCI KDD Archive, CC BY 4.0",
)
NSL_KDD: Final = DataSet(
    "nsl-kdd",
    train=DataFile("KDDTrain+.txt.gz", "1b86d2f957b33082081bba410fe129b475efebcc13c9014c3f447c8271aadf95"),
    test=DataFile("KDDTest+.txt.gz", "fa46b0935342616aa83b7c2578db355b6a7aaabbc492248172c7a1e8b7ab8f84"),
    others=(
        DataFile("KDDTest-21.txt.gz", "746993ac9e25868827cacf09eab450050a2a1056e1ce48a1ad39f5dc801d531d"),
        DataFile(
            "KDDTrain+_20Percent.txt.gz", "7ea86479faab5ca2190b7f18b4982fb058ce5bf2b46e0e1017d0d9ef90f9c16e"
        ),
    ),
    licence="University of New Brunswick; cite Tavallaee et al. 2009",
)
DATA_SETS: Final[Mapping[str, DataSet]] = {found.name: found for found in (KDD99, NSL_KDD)}


def find(folder: Path, data_set: DataSet, file: DataFile) -> Path:
    """A file of the data set in `folder`, or in its sub-folder of the data set's name. Raises DataError."""
    for place in (folder, folder / data_set.name):
        for name in file.names:
            if (place / name).is_file():
                return place / name
    raise DataError(
        f"{file.name} is neither in {folder} nor in {folder / data_set.name}; "
        f"fetch it with `autodeep data fetch {data_set.name}`"
    )


def text_digest(path: Path) -> str:
    """The sha256 (hex) of a file's text, decompressed where it is gzip. Raises DataError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise DataError(f"{path}: the gzip data is cut off or damaged ({exc})") from exc
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    return digest.hexdigest()


def verify(path: Path, file: DataFile) -> None:
    """Raises DataError unless the text of `path` is the published one."""
    found = text_digest(path)
    if found != file.sha256:
        raise DataError(
            f"{path}: is not the published {file.name} (sha256 of its text {found}, not {file.sha256})"
        )


def copy(source: Path, target: Path, file: DataFile) -> None:
    """Take a local copy, plain or gzip, after checking it; `target` appears whole or not at all."""
    verify(source, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.copy")
    with source.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with part.open("wb") if packed else gzip.open(part, "wb") as out:
            shutil.copyfileobj(raw, out)
    part.replace(target)


def download(file: DataFile, target: Path, timeout_s: float, progress: Progress) -> None:
    """Fetch a file from its publisher, going on where an earlier try stopped.

    Raises Unavailable where the server does not answer (what came stays for the next try), DataError where
    the whole file is not the published one (what came is deleted).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    here = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={here}-"} if here else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            resumed = answer.status == 206
            with part.open("ab" if resumed else "wb") as out:
                _receive(answer, out, here if resumed else 0, progress)
    except urllib.error.HTTPError as exc:
        if exc.code != 416:  # the part is whole already, or longer than it may be: the digest will tell
            raise Unavailable(f"{file.url}: the server answered {exc.code} {exc.reason}") from exc
    except (OSError, EOFError) as exc:
        raise Unavailable(f"{file.url}: {exc}; run the command again to go on") from exc
    try:
        verify(part, file)
    except DataError:
        part.unlink()
        raise
    part.replace(target)


def _receive(answer: IO[bytes], out: IO[bytes], here: int, progress: Progress) -> None:
    length = getattr(answer, "headers", {}).get("Content-Length")
    whole = here + int(length) if length and length.isdigit() else None
    while chunk := answer.read(_CHUNK_BYTES):
        out.write(chunk)
        here += len(chunk)
        progress(here, whole)
    if whole is not None and here < whole:
        raise EOFError(f"the connection ended after {here} of {whole} bytes")
