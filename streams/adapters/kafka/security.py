"""Who we are for Kafka, for both clients: certificates, log-ins, tokens.

librdkafka reads certificates when a client is made, and `stamp` says when they have changed since: whoever
keeps a client for long makes it anew then. aiokafka asks our context at each connection. Tokens are fetched
and renewed by librdkafka itself (OIDC), for aiokafka by `tokens.py`.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import Any, Final

from streams.adapters.kafka.tokens import MskTokens, OidcTokens, Tokens
from streams.errors import SettingsError
from streams.settings import Settings

log: Final = logging.getLogger("autodeep")

Stamp = tuple[tuple[str, int, int] | None, ...]


def client_security(settings: Settings) -> dict[str, Any]:
    """Properties of a client of confluent-kafka. Raises SettingsError where settings do not fit."""
    config: dict[str, Any] = {"security.protocol": settings.kafka_security}
    if settings.kafka_security.startswith("SASL"):
        config |= _log_in(settings)
    if settings.kafka_ca_file:
        config["ssl.ca.location"] = settings.kafka_ca_file
    if has_certificate(settings):
        config["ssl.certificate.location"] = settings.kafka_certificate_file
        config["ssl.key.location"] = settings.kafka_key_file
        if settings.kafka_key_password:
            config["ssl.key.password"] = settings.kafka_key_password
    return config


def has_certificate(settings: Settings) -> bool:
    """Whether we show one of our own. Raises SettingsError where only a half of it is set."""
    if bool(settings.kafka_certificate_file) != bool(settings.kafka_key_file):
        raise SettingsError(
            "AUTODEEP_KAFKA_CERTIFICATE_FILE and AUTODEEP_KAFKA_KEY_FILE belong together: set both"
        )
    return bool(settings.kafka_certificate_file)


def says_who_we_are(settings: Settings) -> bool:
    """By a log-in, a token or a certificate: brokers may have rights for such a user, and hide topics."""
    return settings.kafka_security.startswith("SASL") or (
        settings.kafka_security == "SSL" and has_certificate(settings)
    )


def tokens(settings: Settings) -> Tokens | None:
    """What gives this mechanism its tokens; None for one of users and passwords. Raises SettingsError."""
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        for name in ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret"):
            if not getattr(settings, name):
                raise SettingsError(
                    f"AUTODEEP_KAFKA_SASL_MECHANISM=OAUTHBEARER needs AUTODEEP_{name.upper()}"
                )
        return OidcTokens(settings)
    if settings.kafka_sasl_mechanism == "AWS_MSK_IAM":
        if not settings.kafka_aws_region:
            raise SettingsError("AUTODEEP_KAFKA_SASL_MECHANISM=AWS_MSK_IAM needs AUTODEEP_KAFKA_AWS_REGION")
        return MskTokens(settings.kafka_aws_region)
    return None


def _log_in(settings: Settings) -> dict[str, Any]:
    source = tokens(settings)
    if isinstance(source, OidcTokens):
        config = {
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": settings.kafka_oauth_client_id,
            "sasl.oauthbearer.client.secret": settings.kafka_oauth_client_secret,
            "sasl.oauthbearer.token.endpoint.url": settings.kafka_oauth_token_url,
        }
        if settings.kafka_oauth_scope:
            config["sasl.oauthbearer.scope"] = settings.kafka_oauth_scope
        if settings.kafka_oauth_ca_file:
            config["https.ca.location"] = settings.kafka_oauth_ca_file
        return config
    if source is not None:
        return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _: source.fetch()}
    if not (settings.kafka_username and settings.kafka_password):
        raise SettingsError(
            f"AUTODEEP_KAFKA_SECURITY={settings.kafka_security} needs AUTODEEP_KAFKA_USERNAME and "
            f"AUTODEEP_KAFKA_PASSWORD with AUTODEEP_KAFKA_SASL_MECHANISM={settings.kafka_sasl_mechanism}"
        )
    return {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_username,
        "sasl.password": settings.kafka_password,
    }


def check_files(settings: Settings) -> None:
    """Raises SettingsError where the files of certificates cannot be used."""
    if settings.kafka_security.endswith("SSL"):
        _context(settings)


def stamp(settings: Settings) -> Stamp:
    """Differs once a file of the certificates was renewed."""
    names = (settings.kafka_ca_file, settings.kafka_certificate_file, settings.kafka_key_file)
    return tuple(_stamp(name) for name in names if name)


def _stamp(name: str) -> tuple[str, int, int] | None:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return name, found.st_mtime_ns, found.st_ino


class RenewingContext(ssl.SSLContext):
    """For aiokafka: each connection begins with the certificates that the files hold then.

    Where new files cannot be used, being half written or wrong, the former ones stay, with one line.
    """

    _settings: Settings
    _current: ssl.SSLContext
    _as_of: Stamp
    _renewing: threading.Lock

    @classmethod
    def of(cls, settings: Settings) -> RenewingContext:
        """Raises SettingsError where the files cannot be used."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._settings, context._renewing = settings, threading.Lock()
        context._as_of = stamp(settings)
        context._current = _context(settings)
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """What asyncio calls for a connection."""
        return self._renewed().wrap_bio(*args, **kwargs)

    def _renewed(self) -> ssl.SSLContext:
        with self._renewing:
            found = stamp(self._settings)
            if found != self._as_of:
                self._as_of = found
                try:
                    self._current = _context(self._settings)
                except SettingsError as exc:
                    log.warning("%s; the former certificates stay in use", exc)
            return self._current


def _context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    except OSError as exc:  # SSLError is one too
        raise SettingsError(
            f"AUTODEEP_KAFKA_CA_FILE: {settings.kafka_ca_file} cannot be used as a PEM file: {exc}"
        ) from exc
    if has_certificate(settings):
        certificate, key = settings.kafka_certificate_file, settings.kafka_key_file
        try:  # without a password OpenSSL would ask the terminal for one
            context.load_cert_chain(certificate, key, lambda: settings.kafka_key_password)
        except OSError as exc:
            raise SettingsError(
                f"AUTODEEP_KAFKA_CERTIFICATE_FILE and AUTODEEP_KAFKA_KEY_FILE: {certificate} and {key} "
                f"cannot be used together (AUTODEEP_KAFKA_KEY_PASSWORD opens the key): {exc}"
            ) from exc
    return context
