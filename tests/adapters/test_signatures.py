"""A trusted key's signature opens the door; none, another's, or one over other bytes does not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.adapters.store import signatures
from streams.adapters.store.models import open_store
from streams.adapters.store.signatures import SIGNATURE
from streams.core.kdd99 import KDD99
from streams.errors import ModelRejected, SettingsError
from streams.model.artifact import CARD, MANIFEST, TENSORS
from streams.model.detector import Detector

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PLAIN = serialization.NoEncryption()
DETECTOR = Detector.random(KDD99, seed=4)


def write_keys(folder: Path, name: str) -> tuple[str, str]:
    """Paths of a new private key and its public half."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(PEM, PKCS8, PLAIN))
    public.write_bytes(key.public_key().public_bytes(PEM, SPKI))
    return str(private), str(public)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    return write_keys(tmp_path, "ours")


@pytest.fixture
def root(tmp_path: Path, keys: tuple[str, str]) -> str:
    """A store with toy/1, signed."""
    store = open_store(str(tmp_path / "store"))
    store.save(DETECTOR, "toy", "1", {}, "# card\n")
    store.sign("toy/1", keys[0])
    return str(tmp_path / "store")


def test_a_signed_model_is_served_by_those_that_trust_its_key(root: str, keys: tuple[str, str]) -> None:
    assert open_store(root, keys[1]).load("toy/1").identity.version == "1"


def test_without_a_trust_key_nobody_asks_for_signatures(root: str) -> None:
    (Path(root) / "toy/1" / SIGNATURE).unlink()
    assert open_store(root).load("toy/1").identity.name == "toy"


def test_an_unsigned_model_is_refused_by_name(root: str, keys: tuple[str, str]) -> None:
    (Path(root) / "toy/1" / SIGNATURE).unlink()
    with pytest.raises(ModelRejected, match=rf"toy/1/{SIGNATURE}: is missing"):
        open_store(root, keys[1]).load("toy/1")


def test_a_signature_of_another_key_is_refused(root: str, tmp_path: Path) -> None:
    _, another = write_keys(tmp_path, "another")
    with pytest.raises(ModelRejected, match=rf"toy/1/{SIGNATURE}: does not fit"):
        open_store(root, another).load("toy/1")


@pytest.mark.parametrize("signature", [b"", b"x", bytes(64), bytes(10_000)])
def test_bytes_that_are_no_signature_are_refused(root: str, keys: tuple[str, str], signature: bytes) -> None:
    (Path(root) / "toy/1" / SIGNATURE).write_bytes(signature)
    with pytest.raises(ModelRejected, match=SIGNATURE):
        open_store(root, keys[1]).load("toy/1")


def test_an_altered_manifest_is_refused_before_it_is_read(root: str, keys: tuple[str, str]) -> None:
    """Even one that is no JSON: an unsigned byte never meets the parser."""
    (Path(root) / "toy/1" / MANIFEST).write_bytes(b"{")
    with pytest.raises(ModelRejected, match=SIGNATURE):
        open_store(root, keys[1]).load("toy/1")


@pytest.mark.parametrize("file", [TENSORS, CARD])
def test_every_other_file_is_held_by_the_signed_manifest(root: str, keys: tuple[str, str], file: str) -> None:
    path = Path(root) / "toy/1" / file
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelRejected, match=f"{file}: sha256"):
        open_store(root, keys[1]).load("toy/1")


def test_a_signed_model_moved_to_another_version_is_refused(root: str, keys: tuple[str, str]) -> None:
    shutil.copytree(Path(root) / "toy/1", Path(root) / "toy/2")
    with pytest.raises(ModelRejected, match=r"is toy/1, not toy/2"):
        open_store(root, keys[1]).load("toy/2")


def test_what_cannot_be_loaded_is_not_signed(root: str, keys: tuple[str, str]) -> None:
    (Path(root) / "toy/1" / TENSORS).write_bytes(b"")
    with pytest.raises(ModelRejected, match=TENSORS):
        open_store(root).sign("toy/1", keys[0])


def test_files_that_are_no_ed25519_keys_are_settings_errors(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ec.pem").write_bytes(other.private_bytes(PEM, PKCS8, PLAIN))
    (tmp_path / "ec.pub").write_bytes(other.public_key().public_bytes(PEM, SPKI))
    locked = Ed25519PrivateKey.generate().private_bytes(
        PEM, PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "text").write_text("hello")
    for name in ("absent", "text", "ec.pem", "locked.pem"):
        with pytest.raises(SettingsError, match=name):
            signatures.read_private_key(str(tmp_path / name))
    for name in ("absent", "text", "ec.pub"):
        with pytest.raises(SettingsError, match=name):
            signatures.read_public_key(str(tmp_path / name))


def test_a_trust_key_that_cannot_be_read_stops_the_start(root: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="absent"):
        open_store(root, str(tmp_path / "absent"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on the PATH")
def test_openssl_finds_our_signature_good(root: str, keys: tuple[str, str]) -> None:
    version = Path(root) / "toy/1"
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin"]
    done = subprocess.run(
        [*command, "-in", str(version / MANIFEST), "-sigfile", str(version / SIGNATURE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
