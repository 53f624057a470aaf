"""Ed25519 signatures (RFC 8032) over a manifest's bytes. The manifest names every other file by sha256.

A signature is 64 raw bytes, so that OpenSSL makes and checks the same ones (docs/models.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from streams.errors import ModelRejected, SettingsError

SIGNATURE: Final = "manifest.sig"
_MAKING: Final = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"


def read_private_key(path: str) -> Ed25519PrivateKey:
    """The key in an unencrypted PEM file. Raises SettingsError, which never shows what the file holds."""
    data = _bytes(path)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SettingsError(f"{path}: is no unencrypted PEM file of a private key; {_MAKING}") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: is a private key, but not of Ed25519; {_MAKING}")
    return key


def read_public_key(path: str) -> Ed25519PublicKey:
    """The key in a PEM file. Raises SettingsError."""
    data = _bytes(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SettingsError(
            f"{path}: is no PEM file of a public key; `openssl pkey -in key.pem -pubout` gives that half"
        ) from exc
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path}: is a public key, but not of Ed25519; {_MAKING}")
    return key


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    return key.sign(manifest)


def check(manifest: bytes, signature: bytes | None, key: Ed25519PublicKey, where: str) -> None:
    """Raises ModelRejected, naming the file, where the signature is missing or not that key's."""
    if signature is None:
        raise ModelRejected(
            f"{where}/{SIGNATURE}: is missing, and a trust key is set: the model is not signed"
        )
    try:
        key.verify(signature, manifest)
    except InvalidSignature as exc:
        raise ModelRejected(
            f"{where}/{SIGNATURE}: does not fit the manifest and the trust key: altered, or signed by another"
        ) from exc


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc
