"""The model store: <root>/<name>/<version>/ with a model's files, and aliases and retired versions beside.

The root is a folder or any URL that fsspec opens. Versions are immutable; aliases move.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fsspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from streams.adapters.store import signatures
from streams.adapters.store.files import (
    LARGEST_FILE_BYTES,
    LARGEST_TEXT_BYTES,
    StoreFiles,
    cached,
    unavailable,
    write_file,
    write_folder,
)
from streams.adapters.store.signatures import SIGNATURE
from streams.codec.plain import shown
from streams.core.known_tables import TABLES
from streams.core.tables import FeatureTable
from streams.errors import ModelRejected, SettingsError
from streams.model import artifact
from streams.model.detector import Detector, Identity

ALIASES: Final = "aliases.json"
RETIRED: Final = "retired.json"
CHAMPION: Final = "champion"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One version in a store, from its manifest alone; `problem` says why it could not be read."""

    name: str
    version: str
    aliases: tuple[str, ...]
    manifest: Mapping[str, Any]
    problem: str = ""
    retired: bool = False


def shipped() -> str:
    """The folder of the models that ship: inside the wheel, or in the repository beside the package."""
    package = Path(__file__).parents[2]
    inside = package / "_data" / "model_store"
    return str(inside if inside.is_dir() else package.parent / "model_store")


def open_store(url: str = "", trust_key: str = "", tables: Mapping[str, FeatureTable] = TABLES) -> ModelStore:
    """The store at a folder or URL; the models that ship where `url` is empty.

    With `trust_key`, the path of a PEM file with an Ed25519 public key, only models signed by it are loaded.
    `tables` (by name) are those whose models can be.
    Raises SettingsError where fsspec does not know such URLs or lacks their package, or the key is none, and
    Unavailable where it cannot be opened: some file systems read as soon as they are made.
    """
    root = url or shipped()
    key = signatures.read_public_key(trust_key) if trust_key else None
    try:
        filesystem, path = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as exc:
        raise SettingsError(f"model store {root}: {exc}") from exc
    except Exception as exc:  # of a plug-in, as in StoreFiles
        raise unavailable(root, "", exc) from exc
    path = path.rstrip("/")
    return ModelStore(StoreFiles(root, filesystem, path), Path(path), tables, key)


class ModelStore:
    def __init__(
        self,
        files: StoreFiles,
        folder: Path,
        tables: Mapping[str, FeatureTable],
        trust_key: Ed25519PublicKey | None = None,
    ) -> None:
        self.url = files.url
        self._files = files
        self._folder = folder  # means something for local stores only
        self._tables = tables
        self._trust_key = trust_key

    def load(self, ref: str) -> Detector:
        """The model named by "name@alias" or "name/version", verified.

        Raises ModelRejected for anything missing, altered, untrusted or unfit, Unavailable where nothing
        answers.
        """
        name, version = self.resolve(ref)
        where = f"{self.url}/{name}/{version}"
        data, manifest = self._manifest(name, version)
        digests = _listed(manifest, where)
        own = f"{manifest['name']}/{manifest['version']}"
        if own != f"{name}/{version}":
            raise ModelRejected(f"{where}/{artifact.MANIFEST}: is {own}, not {name}/{version}")
        if self._files.is_local:
            files = {file: self._files.read(f"{name}/{version}/{file}") for file in digests}
        else:
            files = cached(self._files, f"{name}/{version}", data, digests)
        return artifact.unpack({**files, artifact.MANIFEST: data}, where, self._tables)

    def identify(self, ref: str) -> Identity:
        """Which version a reference means, by its manifest alone; the trust key is asked, if there is one."""
        name, version = self.resolve(ref)
        data, _ = self._manifest(name, version)
        return Identity(name, version, hashlib.sha256(data).hexdigest())

    def describe(self, ref: str) -> tuple[dict[str, Any], str]:
        """The manifest and the model card, without loading the model."""
        name, version = self.resolve(ref)
        card = self._files.read(f"{name}/{version}/{artifact.CARD}", LARGEST_TEXT_BYTES)
        return self._manifest(name, version)[1], card.decode(errors="replace")

    def resolve(self, ref: str) -> tuple[str, str]:
        """Name and version that a reference stands for."""
        self._files.forget_listings()
        name, mark, rest = ref.partition("@") if "@" in ref else ref.partition("/")
        if not mark or not _plain(name) or not _plain(rest):
            raise ModelRejected(
                f"{shown(ref)} names no model: give name@alias or name/version, such as kdd99@champion"
            )
        if mark == "/":
            return name, rest
        aliases = self.aliases(name)
        if rest not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise ModelRejected(f"{self.url}/{name}/{ALIASES}: has no alias {rest!r} (it has: {known})")
        return name, aliases[rest]

    def holds(self, name: str) -> bool:
        """Whether there is any model of that name."""
        self._files.forget_listings()
        return _plain(name) and self._files.exists(name)

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to version of one model; none where there is no such file."""
        data = self._files.find(f"{name}/{ALIASES}", LARGEST_TEXT_BYTES)
        if data is None:
            if not self._files.exists(name):
                raise ModelRejected(f"{self.url}: holds no model {name!r}")
            return {}
        found = _json(data, f"{self.url}/{name}/{ALIASES}")
        named = [*found, *found.values()] if isinstance(found, dict) else []
        if not isinstance(found, dict) or not all(isinstance(one, str) and _plain(one) for one in named):
            raise ModelRejected(f"{self.url}/{name}/{ALIASES}: must map aliases to versions")
        return found

    def retired(self, name: str) -> frozenset[str]:
        """Versions of one model that are not to be promoted any more."""
        data = self._files.find(f"{name}/{RETIRED}", LARGEST_TEXT_BYTES)
        found = [] if data is None else _json(data, f"{self.url}/{name}/{RETIRED}")
        if not isinstance(found, list) or not all(isinstance(version, str) for version in found):
            raise ModelRejected(f"{self.url}/{name}/{RETIRED}: must be a list of versions")
        return frozenset(found)

    def entries(self) -> list[Entry]:
        """Every version in the store, by name and version; broken ones say so."""
        self._files.forget_listings()
        found = []
        for name in self._folders():
            aliases, retired, odd = self._marks(name)
            for version in self._folders(name):
                mine = tuple(sorted(alias for alias, of in aliases.items() if of == version))
                manifest: dict[str, Any] = {}
                problem = ""
                try:
                    _, manifest = self._manifest(name, version)
                except ModelRejected as exc:
                    problem = str(exc)
                found.append(Entry(name, version, mine, manifest, problem or odd, version in retired))
        return found

    def _marks(self, name: str) -> tuple[dict[str, str], frozenset[str], str]:
        """Aliases and retired versions of one model, and what is wrong with the files that say so."""
        aliases: dict[str, str] = {}
        try:
            aliases = self.aliases(name)
            return aliases, self.retired(name), ""
        except ModelRejected as exc:
            return aliases, frozenset(), str(exc)

    def free_version(self, name: str, version: str = "") -> str:
        """A version that can be written: the given one, or one more than the greatest number there is."""
        self._writable(name, version or "1")
        taken = self._folders(name)
        if version in taken:
            raise ModelRejected(
                f"{self.url}/{name}/{version}: exists, and versions are immutable; give another"
            )
        return version or str(max((int(number) for number in taken if number.isdecimal()), default=0) + 1)

    def save(
        self, detector: Detector, name: str, version: str, notes: Mapping[str, object], card: str
    ) -> Identity:
        """Write a new version, whole or not at all. Raises ModelRejected where that version exists."""
        files = artifact.pack(detector, name, version, notes, card)
        return self._write(name, version, files, str(self._folder / name / version))

    def add(self, folder: Path) -> Identity:
        """Take a version's folder from elsewhere, under the name and version of its manifest.

        It is loaded first, as a worker would. Raises ModelRejected where it is unfit or exists.
        """
        manifest_bytes = _local_file(folder, artifact.MANIFEST)
        signature = _local_file(folder, SIGNATURE) if (folder / SIGNATURE).exists() else None
        if self._trust_key is not None:
            signatures.check(manifest_bytes, signature, self._trust_key, str(folder))
        manifest = artifact.read_manifest(manifest_bytes, str(folder))
        files = {file: _local_file(folder, file) for file in _listed(manifest, str(folder))}
        files[artifact.MANIFEST] = manifest_bytes
        if signature is not None:
            files[SIGNATURE] = signature
        return self._write(manifest["name"], manifest["version"], files, str(folder))

    def sign(self, ref: str, private_key: str) -> Path:
        """Write a version's signature beside its manifest; what cannot be loaded is not signed."""
        key = signatures.read_private_key(private_key)
        name, version = self.resolve(ref)
        folder = self._writable(name, version)
        digest = ModelStore(self._files, self._folder, self._tables).load(f"{name}/{version}").identity.digest
        manifest = _local_file(folder, artifact.MANIFEST)
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise ModelRejected(f"{folder}/{artifact.MANIFEST}: changed while it was being signed")
        self._replace(folder / SIGNATURE, signatures.sign(manifest, key))
        return folder / SIGNATURE

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version that exists; the file is replaced atomically."""
        folder = self._existing(name, version, f"alias {alias!r}")
        if not _plain(alias):
            raise ModelRejected(f"{alias!r}: is no name for an alias")
        self._replace(folder / ALIASES, _text({**self.aliases(name), alias: version}))

    def retire(self, name: str, version: str) -> None:
        """Mark a version as not to be promoted. Raises ModelRejected for the champion of the aliases."""
        folder = self._existing(name, version, "retirement")
        if self.aliases(name).get(CHAMPION) == version:
            raise ModelRejected(
                f"{folder}/{version}: is the champion of {ALIASES}; `autodeep models alias` moves it"
            )
        self._replace(folder / RETIRED, _text(sorted(self.retired(name) | {version})))

    def _manifest(self, name: str, version: str) -> tuple[bytes, dict[str, Any]]:
        """A manifest's bytes and what they say. The signature is checked first: it covers the bytes."""
        where = f"{self.url}/{name}/{version}"
        data = self._files.read(f"{name}/{version}/{artifact.MANIFEST}", LARGEST_TEXT_BYTES)
        if self._trust_key is not None:
            signature = self._files.find(f"{name}/{version}/{SIGNATURE}", LARGEST_TEXT_BYTES)
            signatures.check(data, signature, self._trust_key, where)
        return data, artifact.read_manifest(data, where)

    def _folders(self, path: str = "") -> list[str]:
        return [name for name in self._files.folders(path) if _plain(name)]

    def _write(self, name: str, version: str, files: Mapping[str, bytes], source: str) -> Identity:
        folder = self._writable(name, version)
        if folder.exists():
            raise ModelRejected(f"{folder}: exists, and versions are immutable; give another version")
        identity = artifact.unpack(
            files, source, self._tables
        ).identity  # what cannot be loaded is never written
        try:
            write_folder(folder, files)
        except OSError as exc:
            raise ModelRejected(f"{folder}: cannot be written: {exc.strerror or exc}") from exc
        return identity

    def _replace(self, path: Path, data: bytes) -> None:
        try:
            write_file(path, data)
        except OSError as exc:
            raise ModelRejected(f"{path}: cannot be written: {exc.strerror or exc}") from exc

    def _existing(self, name: str, version: str, what: str) -> Path:
        folder = self._writable(name, version).parent
        if not (folder / version / artifact.MANIFEST).exists():
            raise ModelRejected(f"{folder}/{version}: no such version for {what}")
        return folder

    def _writable(self, name: str, version: str) -> Path:
        """The folder of one version, in a store that can be written. Raises ModelRejected, SettingsError."""
        if not _plain(name) or not _plain(version):
            raise ModelRejected(
                f"{name!r}/{version!r}: names are letters, digits, '.', '_' and '-', 64 at most"
            )
        if not self._files.is_local:
            raise SettingsError(
                f"{self.url}: models are written to folders only; copy the version's folder there"
            )
        return self._folder / name / version


def _listed(manifest: Mapping[str, Any], where: str) -> dict[str, str]:
    """The files that a manifest lists, and their sha256. Raises ModelRejected for one that no model has."""
    for file in manifest["files"]:
        if file not in artifact.FILES:
            raise ModelRejected(f"{where}/{artifact.MANIFEST}: lists {file!r}, which is no file of a model")
    files = manifest["files"].items()
    return {file: str(entry.get("sha256")) if isinstance(entry, dict) else "" for file, entry in files}


def _local_file(folder: Path, file: str) -> bytes:
    path = folder / file
    try:
        with path.open("rb") as opened:
            data = opened.read(LARGEST_FILE_BYTES + 1)
    except OSError as exc:
        raise ModelRejected(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if len(data) > LARGEST_FILE_BYTES:
        raise ModelRejected(f"{path}: a model's file has {LARGEST_FILE_BYTES} bytes at most")
    return data


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ModelRejected(f"{where}: is no JSON ({exc})") from exc


def _text(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _plain(name: str) -> bool:
    """Whether a part of a path is a plain name: nothing that could lead out of the store."""
    return _NAME.fullmatch(name) is not None and ".." not in name
