"""When the certificates end that servers show, and those in our own files."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from streams.errors import SettingsError, Unavailable
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Certificate:
    whose: str
    ends_s: float
    """Seconds since 1970."""


def shown_by(address: str, timeout_s: float) -> Certificate:
    """The certificate of a server, whoever signed it. Raises Unavailable where it shows none."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whether it holds is the clients' question; this one is its end
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except (OSError, ValueError) as exc:
        raise Unavailable(f"no TLS with {address}: {exc}") from exc
    if der is None:
        raise Unavailable(f"{address} shows no certificate")
    return _certificate(address, x509.load_der_x509_certificate(der))


def in_file(path: str) -> list[Certificate]:
    """Those of a PEM file. Raises SettingsError."""
    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as exc:
        raise SettingsError(f"{path}: {getattr(exc, 'strerror', None) or exc}") from exc
    return [_certificate(path, one) for one in found]


def files_of(settings: Settings) -> list[str]:
    """The files with certificates that the settings name: authorities', and our own."""
    files = (
        settings.kafka_ca_file,
        settings.kafka_certificate_file,
        settings.kafka_oauth_ca_file,
        settings.redis_ca_file,
        settings.schema_registry_ca_file,
    )
    return list(dict.fromkeys(filter(None, files)))


def first_ends_s(files: Iterable[str]) -> dict[str, float]:
    """By file when the first of its certificates ends; without the files that cannot be read just now."""
    ends = {}
    for path in files:
        try:
            ends[path] = min(one.ends_s for one in in_file(path))
        except SettingsError:
            continue  # it is being renewed; the clients say what it means for them
    return ends


def _certificate(whose: str, found: x509.Certificate) -> Certificate:
    return Certificate(whose, found.not_valid_after_utc.timestamp())
