"""When the certificates end that servers show, and those in our own files."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from cryptography import x509

from streams.doctor.facts import Certificate
from streams.errors import SettingsError, Unavailable


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


def _certificate(whose: str, found: x509.Certificate) -> Certificate:
    return Certificate(whose, found.not_valid_after_utc.timestamp())
