"""The model store: <root>/<name>/<version>/ with a model's files, and <root>/<name>/aliases.json.

The root is a folder or any URL that fsspec opens. Versions are immutable; aliases move.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import fsspec

from streams.core import artifact
from streams.core.detector import Detector, Identity
from streams.errors import ModelRejected, SettingsError, Unavailable

ALIASES: Final = "aliases.json"
LARGEST_FILE_BYTES: Final = 256 * 2**20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One version in a store, from its manifest alone; `problem` says why it could not be read."""

    name: str
    version: str
    aliases: tuple[str, ...]
    manifest: Mapping[str, Any]
    problem: str = ""


def shipped() -> str:
    """The folder of the models that ship: inside the wheel, or in the repository beside the package."""
    package = Path(__file__).parent
    inside = package / "_data" / "model_store"
    return str(inside if inside.is_dir() else package.parent / "model_store")


def open_store(url: str = "") -> ModelStore:
    """The store at a folder or URL; the models that ship where `url` is empty.

    Raises SettingsError where fsspec does not know such URLs or lacks their package.
    """
    root = url or shipped()
    try:
        filesystem, path = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as exc:
        raise SettingsError(f"model store {root}: {exc}") from exc
    return ModelStore(root, filesystem, path.rstrip("/"))


class ModelStore:
    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self.url = url
        self._fs = filesystem
        self._root = root

    def load(self, ref: str) -> Detector:
        """The model named by "name@alias" or "name/version", verified.

        Raises ModelRejected for anything missing, altered or unfit, Unavailable where nothing answers.
        """
        name, version = self.resolve(ref)
        where = f"{self.url}/{name}/{version}"
        files = {artifact.MANIFEST: self._read(name, version, artifact.MANIFEST)}
        manifest = artifact.read_manifest(files[artifact.MANIFEST], where)
        for file in manifest["files"]:
            if file not in artifact.FILES:
                raise ModelRejected(
                    f"{where}/{artifact.MANIFEST}: lists {file!r}, which is no file of a model"
                )
            files[file] = self._read(name, version, file)
        own = f"{manifest['name']}/{manifest['version']}"
        if own != f"{name}/{version}":
            raise ModelRejected(f"{where}/{artifact.MANIFEST}: is {own}, not {name}/{version}")
        return artifact.unpack(files, where)

    def describe(self, ref: str) -> tuple[dict[str, Any], str]:
        """The manifest and the model card, without loading the model."""
        name, version = self.resolve(ref)
        data = self._read(name, version, artifact.MANIFEST)
        manifest = artifact.read_manifest(data, f"{self.url}/{name}/{version}")
        return manifest, self._read(name, version, artifact.CARD).decode(errors="replace")

    def resolve(self, ref: str) -> tuple[str, str]:
        """Name and version that a reference stands for."""
        name, mark, rest = ref.partition("@") if "@" in ref else ref.partition("/")
        if not mark or not _plain(name) or not _plain(rest):
            raise ModelRejected(
                f"{ref!r} names no model: give name@alias or name/version, such as kdd99@champion"
            )
        if mark == "/":
            return name, rest
        aliases = self.aliases(name)
        if rest not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise ModelRejected(f"{self.url}/{name}/{ALIASES}: has no alias {rest!r} (it has: {known})")
        return name, aliases[rest]

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to version of one model; none where there is no such file."""
        path = f"{self._root}/{name}/{ALIASES}"
        if not self._exists(path):
            if not self._exists(f"{self._root}/{name}"):
                raise ModelRejected(f"{self.url}: holds no model {name!r}")
            return {}
        try:
            found = json.loads(self._bytes(path))
        except ValueError as exc:
            raise ModelRejected(f"{self.url}/{name}/{ALIASES}: is no JSON ({exc})") from exc
        if not isinstance(found, dict) or not all(isinstance(v, str) and _plain(v) for v in found.values()):
            raise ModelRejected(f"{self.url}/{name}/{ALIASES}: must map aliases to versions")
        return found

    def entries(self) -> list[Entry]:
        """Every version in the store, by name and version; broken ones say so."""
        found = []
        for name in self._folders(self._root):
            aliases = self.aliases(name)
            for version in self._folders(f"{self._root}/{name}"):
                mine = tuple(sorted(alias for alias, of in aliases.items() if of == version))
                try:
                    where = f"{self.url}/{name}/{version}"
                    manifest = artifact.read_manifest(self._read(name, version, artifact.MANIFEST), where)
                    found.append(Entry(name, version, mine, manifest))
                except ModelRejected as exc:
                    found.append(Entry(name, version, mine, {}, str(exc)))
        return found

    def free_version(self, name: str, version: str = "") -> str:
        """A version that can be written: the given one, or one more than the greatest number there is."""
        if not _plain(name) or not _plain(version or "1"):
            raise ModelRejected(
                f"{name!r}/{version!r}: names are letters, digits, '.', '_' and '-', 64 at most"
            )
        taken = self._folders(str(self._local() / name))
        if version in taken:
            raise ModelRejected(
                f"{self.url}/{name}/{version}: exists, and versions are immutable; give another"
            )
        return version or str(max((int(number) for number in taken if number.isdecimal()), default=0) + 1)

    def save(
        self, detector: Detector, name: str, version: str, notes: Mapping[str, object], card: str
    ) -> Identity:
        """Write a new version, whole or not at all. Raises ModelRejected where that version exists."""
        if not _plain(name) or not _plain(version):
            raise ModelRejected(
                f"{name!r}/{version!r}: names are letters, digits, '.', '_' and '-', 64 at most"
            )
        parent = self._local() / name
        folder = parent / version
        if folder.exists():
            raise ModelRejected(f"{folder}: exists, and versions are immutable; give another --version")
        files = artifact.pack(detector, name, version, notes, card)
        identity = artifact.unpack(files, str(folder)).identity  # what cannot be loaded is never written
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=parent))
        try:
            for file, data in files.items():
                (temporary / file).write_bytes(data)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except OSError as exc:
            shutil.rmtree(temporary, ignore_errors=True)
            raise ModelRejected(f"{folder}: cannot be written: {exc.strerror or exc}") from exc
        return identity

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version that exists; the file is replaced atomically."""
        folder = self._local() / name
        if not _plain(alias) or not (folder / version / artifact.MANIFEST).exists():
            raise ModelRejected(f"{folder}/{version}: no such version for alias {alias!r}")
        aliases = {**self.aliases(name), alias: version}
        temporary = folder / f".{ALIASES}.{os.getpid()}"
        temporary.write_text(json.dumps(aliases, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(folder / ALIASES)

    def _local(self) -> Path:
        if "file" not in ((self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol):
            raise SettingsError(
                f"{self.url}: models are written to folders only; copy the version's folder there"
            )
        return Path(self._root)

    def _read(self, name: str, version: str, file: str) -> bytes:
        path = f"{self._root}/{name}/{version}/{file}"
        if not self._exists(path):
            raise ModelRejected(f"{self.url}/{name}/{version}/{file}: is missing")
        return self._bytes(path)

    def _bytes(self, path: str) -> bytes:
        try:
            size = self._fs.size(path)
            if size is not None and size > LARGEST_FILE_BYTES:
                raise ModelRejected(
                    f"{path}: has {size} bytes; a model's file has {LARGEST_FILE_BYTES} at most"
                )
            data: bytes = self._fs.cat_file(path)
        except OSError as exc:
            self._unavailable(path, exc)
        return data

    def _exists(self, path: str) -> bool:
        try:
            return bool(self._fs.exists(path))
        except OSError as exc:
            self._unavailable(path, exc)

    def _folders(self, path: str) -> list[str]:
        try:
            found = self._fs.ls(path, detail=True) if self._fs.exists(path) else []
        except OSError as exc:
            self._unavailable(path, exc)
        names = [
            str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
            for entry in found
            if entry["type"] == "directory"
        ]
        return sorted(name for name in names if _plain(name))

    def _unavailable(self, path: str, exc: OSError) -> NoReturn:
        raise Unavailable(f"model store {self.url}: {path} cannot be read: {exc.strerror or exc}") from exc


def _plain(name: str) -> bool:
    """Whether a part of a path is a plain name: nothing that could lead out of the store."""
    return _NAME.fullmatch(name) is not None and ".." not in name
