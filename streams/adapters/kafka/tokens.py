"""Tokens for SASL/OAUTHBEARER: of an OIDC provider (client credentials, RFC 6749 4.4), or of AWS for MSK."""

from __future__ import annotations

import asyncio
import base64
import http.client
import importlib
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from streams.errors import BrokerUnavailable, SettingsError
from streams.settings import Settings

_RENEWED_AT: Final = 0.8
"""The share of a token's life after which the next one is fetched."""
_MOST_BYTES: Final = 1 << 20

Token = tuple[str, float]
"""The token and when it ends, seconds since the epoch."""


class Tokens(Protocol):
    def fetch(self) -> Token:
        """A new one. Raises BrokerUnavailable."""
        ...


class OidcTokens:
    """Asks the token endpoint with the client's id and secret."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fetch(self) -> Token:
        """Raises BrokerUnavailable, without the secret in its message."""
        settings, url = self._settings, self._settings.kafka_oauth_token_url
        form = {"grant_type": "client_credentials"}
        if settings.kafka_oauth_scope:
            form["scope"] = settings.kafka_oauth_scope
        quoted = (
            urllib.parse.quote(part, safe="")
            for part in (settings.kafka_oauth_client_id, settings.kafka_oauth_client_secret)
        )
        basic = base64.b64encode(":".join(quoted).encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/json"}
        request = urllib.request.Request(url, urllib.parse.urlencode(form).encode(), headers)
        asked_s = time.time()
        try:
            with urllib.request.urlopen(
                request, timeout=settings.network_timeout_s, context=self._context()
            ) as got:
                return _token(json.loads(got.read(_MOST_BYTES)), asked_s)
        except urllib.error.HTTPError as exc:
            exc.close()
            raise _no_token(url, f"it answers {exc.code} {exc.reason}") from exc
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as exc:
            raise _no_token(url, str(exc) or type(exc).__name__) from exc

    def _context(self) -> ssl.SSLContext | None:
        settings = self._settings
        if not settings.kafka_oauth_token_url.startswith("https:"):
            return None
        return ssl.create_default_context(cafile=settings.kafka_oauth_ca_file or None)


def _token(answer: Any, asked_s: float) -> Token:
    token = answer["access_token"]
    if not isinstance(token, str):
        raise TypeError("access_token is no text")
    return token, asked_s + float(answer.get("expires_in") or _life_s(token, asked_s))


def _life_s(token: str, asked_s: float) -> float:
    """What the token itself says, where the answer does not: a JWT's claim `exp`."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return float(claims["exp"]) - asked_s


def _no_token(url: str, problem: str) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"no token for Kafka from {url} (AUTODEEP_KAFKA_OAUTH_TOKEN_URL): {problem}; check "
        "AUTODEEP_KAFKA_OAUTH_CLIENT_ID, _CLIENT_SECRET, _SCOPE and _CA_FILE"
    )


class MskTokens:
    """Signed by AWS's credentials of this machine, as `aws-msk-iam-sasl-signer-python` finds them."""

    def __init__(self, region: str) -> None:
        """Raises SettingsError where the extra is not installed."""
        try:
            signer: Any = importlib.import_module("aws_msk_iam_sasl_signer")
        except ImportError as exc:
            raise SettingsError(
                'AUTODEEP_KAFKA_SASL_MECHANISM=AWS_MSK_IAM needs the extra: pip install "autodeep-id[msk]"'
            ) from exc
        self._sign: Callable[[str], tuple[str, int]] = signer.MSKAuthTokenProvider.generate_auth_token
        self._region = region

    def fetch(self) -> Token:
        """Raises BrokerUnavailable."""
        try:
            token, ends_ms = self._sign(self._region)
        except Exception as exc:  # botocore's errors, and the signer's own, have no other base
            problem = str(exc) or type(exc).__name__
            raise BrokerUnavailable(
                f"no token for Kafka from AWS's credentials in {self._region}: {problem}; check them, and "
                "AUTODEEP_KAFKA_AWS_REGION"
            ) from exc
        return token, ends_ms / 1000


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """For aiokafka, which asks at each connection: one token until most of its life is over."""

    def __init__(self, source: Tokens, clock_s: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._token = ""
        self._renew_s = 0.0

    async def token(self) -> str:
        """Raises aiokafka's KafkaConnectionError: it tries again."""
        try:
            return await asyncio.get_running_loop().run_in_executor(None, self.current)
        except BrokerUnavailable as exc:
            raise KafkaConnectionError(str(exc)) from exc

    def current(self) -> str:
        with self._lock:
            now_s = self._clock_s()
            if now_s >= self._renew_s:
                self._token, ends_s = self._source.fetch()
                self._renew_s = now_s + _RENEWED_AT * (ends_s - now_s)
            return self._token
