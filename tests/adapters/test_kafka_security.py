"""Certificates that are renewed, tokens that end, and settings that do not go together."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from cryptography import x509

from streams.adapters.kafka.client import client_config, producer_config
from streams.adapters.kafka.faust_app import app_settings
from streams.adapters.kafka.security import RenewingContext, check_files
from streams.adapters.kafka.tokens import MskTokens, OidcTokens, TokenProvider
from streams.embedded.certificates import Authority, Issued
from streams.errors import BrokerUnavailable, SettingsError
from streams.settings import Settings
from tests.oidc import TokenEndpoint, token_endpoint

OAUTH: Any = {"kafka_security": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"}


@pytest.mark.parametrize("half", [{}, {"kafka_username": "me"}, {"kafka_password": "x"}])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_log_in_without_user_or_password_is_refused_as_settings(
    half: dict[str, Any], mechanism: str
) -> None:
    settings = Settings(kafka_security="SASL_SSL", kafka_sasl_mechanism=mechanism, **half)
    with pytest.raises(SettingsError, match=r"needs AUTODEEP_KAFKA_USERNAME and AUTODEEP_KAFKA_PASSWORD"):
        client_config(settings)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def settings_of(authority: Authority, issued: Issued) -> Settings:
    return Settings(
        kafka_security="SSL",
        kafka_ca_file=str(authority.ca_file),
        kafka_certificate_file=str(issued.chain_file),
        kafka_key_file=str(issued.key_file),
    )


def test_each_connection_shows_the_certificate_that_the_files_hold_then(authority: Authority) -> None:
    """What is half written, a certificate without its key, leaves the former one in use."""
    first = authority.issue("first")
    context = RenewingContext.of(settings_of(authority, first))
    shown = [asyncio.run(shown_by(context, authority))]
    second = authority.issue("second")
    second.chain_file.replace(first.chain_file)
    shown.append(asyncio.run(shown_by(context, authority)))
    second.key_file.replace(first.key_file)
    shown.append(asyncio.run(shown_by(context, authority)))
    assert shown == ["first", "first", "second"]


async def shown_by(context: ssl.SSLContext, authority: Authority) -> str:
    """The common name that a server sees of a client with this context."""
    issued = authority.issue("server")
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file)
    ours.verify_mode = ssl.CERT_REQUIRED
    ours.load_cert_chain(issued.chain_file, issued.key_file)
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=ours)
    with closing(server):
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        certificate = x509.load_der_x509_certificate(await seen)
        writer.close()
    [name] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"kafka_security": "SSL", "kafka_key_file": "k.pem"}, "belong together"),
        (OAUTH, "AUTODEEP_KAFKA_OAUTH_TOKEN_URL"),
        ({**OAUTH, "kafka_oauth_token_url": "https://x", "kafka_oauth_client_id": "me"}, "CLIENT_SECRET"),
        ({"kafka_security": "SASL_SSL", "kafka_sasl_mechanism": "AWS_MSK_IAM"}, "AUTODEEP_KAFKA_AWS_REGION"),
    ],
)
def test_settings_that_do_not_go_together_are_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        client_config(Settings(**changed))


def test_a_locked_key_without_its_password_is_one_line_that_names_the_setting(authority: Authority) -> None:
    settings = settings_of(authority, authority.issue("locked", password=b"5ecret"))
    check_files(replace(settings, kafka_key_password="5ecret"))
    for wrong in ("", "wr0ng"):
        with pytest.raises(SettingsError, match="AUTODEEP_KAFKA_KEY_PASSWORD"):
            check_files(replace(settings, kafka_key_password=wrong))


def test_msk_without_its_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SettingsError, match=r"pip install \"autodeep-id\[msk\]\""):
        MskTokens("eu-central-1")


def test_both_clients_ask_mskss_signer_for_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Signer:
        class MSKAuthTokenProvider:
            @staticmethod
            def generate_auth_token(region: str) -> tuple[str, int]:
                return f"token of {region}", 5_000

    monkeypatch.setattr(importlib, "import_module", lambda name: Signer)
    settings = Settings(
        kafka_security="SASL_SSL", kafka_sasl_mechanism="AWS_MSK_IAM", kafka_aws_region="eu-central-1"
    )
    config = client_config(settings)
    assert config["sasl.mechanism"] == "OAUTHBEARER"
    assert config["oauth_cb"]("") == ("token of eu-central-1", 5.0)  # type: ignore[operator]
    credentials = app_settings(settings)["broker_credentials"]
    assert asyncio.run(credentials.oauth_cb.token()) == "token of eu-central-1"


def test_credentials_of_aws_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Signer:
        class MSKAuthTokenProvider:
            @staticmethod
            def generate_auth_token(region: str) -> tuple[str, int]:
                raise ValueError("AWS Credentials can not be found")

    monkeypatch.setattr(importlib, "import_module", lambda name: Signer)
    source = MskTokens("eu-central-1")
    with pytest.raises(BrokerUnavailable, match="can not be found; check them, and AUTODEEP_KAFKA_AWS_REG"):
        source.fetch()
    with pytest.raises(KafkaConnectionError):  # aiokafka tries again
        asyncio.run(TokenProvider(source).token())


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_a_token_endpoint_that_is_none_is_one_line(answer: bytes) -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/token"
        source = OidcTokens(Settings(kafka_oauth_token_url=url, network_timeout_s=5.0))
        with pytest.raises(BrokerUnavailable, match="AUTODEEP_KAFKA_OAUTH_TOKEN_URL"):
            source.fetch()


@pytest.fixture
def provider(authority: Authority) -> Iterator[TokenEndpoint]:
    with token_endpoint(authority, "worker", life_s=100.0) as endpoint:
        yield endpoint


def oidc(authority: Authority, provider: TokenEndpoint, **changed: Any) -> Settings:
    own: Any = {
        "kafka_oauth_token_url": provider.url,
        "kafka_oauth_client_id": provider.CLIENT,
        "kafka_oauth_client_secret": provider.SECRET,
        "kafka_oauth_scope": "kafka",
        "kafka_oauth_ca_file": str(authority.ca_file),
        "network_timeout_s": 5.0,
        **changed,
    }
    return Settings(**OAUTH, **own)


def test_a_token_is_used_for_most_of_its_life_and_then_another_is_fetched(
    authority: Authority, provider: TokenEndpoint
) -> None:
    now_s = [time.time()]
    tokens = TokenProvider(OidcTokens(oidc(authority, provider)), lambda: now_s[0])
    first = asyncio.run(tokens.token())
    now_s[0] += 70
    assert asyncio.run(tokens.token()) == first
    assert provider.given == 1
    now_s[0] += 20
    asyncio.run(tokens.token())
    assert provider.given == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"kafka_oauth_client_secret": "wr0ng"},
        {"kafka_oauth_scope": ""},
        {"kafka_oauth_ca_file": ""},
        {"kafka_oauth_token_url": "https://127.0.0.1:1/token"},
    ],
    ids=["secret", "scope", "authority", "url"],
)
def test_a_token_that_is_not_given_is_one_line_without_the_secret(
    authority: Authority, provider: TokenEndpoint, changed: dict[str, Any]
) -> None:
    source = OidcTokens(oidc(authority, provider, **changed))
    with pytest.raises(BrokerUnavailable, match="AUTODEEP_KAFKA_OAUTH_TOKEN_URL") as caught:
        source.fetch()
    assert TokenEndpoint.SECRET not in str(caught.value)
    with pytest.raises(KafkaConnectionError):  # aiokafka tries again
        asyncio.run(TokenProvider(source).token())


def test_how_long_a_token_lives_is_read_from_it_where_the_answer_does_not_say() -> None:
    from streams.adapters.kafka.tokens import _token

    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1_300}).encode()).rstrip(b"=").decode()
    assert _token({"access_token": f"e30.{claims}."}, 1_000.0)[1] == 1_300
    with pytest.raises((LookupError, ValueError)):
        _token({"access_token": "opaque"}, 1_000.0)


def test_sizes_sessions_and_compression_reach_the_clients_that_they_are_of() -> None:
    settings = Settings(
        kafka_compression="gzip", kafka_message_max_bytes=1_046_528, kafka_fetch_max_bytes=500_000,
        kafka_session_timeout_s=30.0, kafka_heartbeat_s=3.0,
    )  # fmt: skip
    produced = producer_config(settings)
    assert (produced["compression.type"], produced["message.max.bytes"]) == ("gzip", 1_046_528)
    read = app_settings(settings)
    assert (read["broker_session_timeout"], read["broker_heartbeat_interval"]) == (30.0, 3.0)
    assert read["broker_request_timeout"] > 30.0
    assert read["consumer_max_fetch_size"] == 500_000
    with pytest.raises(SettingsError, match="AUTODEEP_KAFKA_HEARTBEAT_S"):
        app_settings(Settings(kafka_session_timeout_s=6.0, kafka_heartbeat_s=3.0))


def test_a_worker_that_fetches_nothing_stays_in_its_group() -> None:
    """aiokafka would leave it after Faust's 1,000 s, and join again only once something is fetched."""
    assert app_settings(Settings())["broker_max_poll_interval"] > 10 * 365 * 86_400
