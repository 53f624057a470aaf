"""Schemas by registry id: asked once, unknown ones again after a while, unavailability passed on."""

from __future__ import annotations

import base64
import importlib.util
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streams.adapters.registry import UNKNOWN_FOR_S, CachedRegistry, confluent_registry, registry_of
from streams.errors import RegistryUnavailable, SettingsError
from streams.settings import Settings
from tests.certificates import Authority
from tests.codec_samples import CURRENT

TEXT = json.dumps(CURRENT.source)


@dataclass
class Bench:
    """A registry whose contents and clock the test sets."""

    known: dict[int, str] = field(default_factory=dict)
    now_s: float = 0.0
    asked: list[int] = field(default_factory=list)

    def fetch(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        return self.known.get(schema_id)

    def registry(self, max_entries: int = 1024) -> CachedRegistry:
        return CachedRegistry(self.fetch, lambda: self.now_s, max_entries)


def test_a_known_id_is_asked_for_once_and_for_ever() -> None:
    bench = Bench({7: TEXT})
    registry = bench.registry()
    first = registry.schema(7)
    bench.now_s = 1e9
    assert first is not None
    assert first.fingerprint == CURRENT.fingerprint
    assert registry.schema(7) is first
    assert bench.asked == [7]


def test_an_unknown_id_is_asked_for_again_after_a_while() -> None:
    bench = Bench()
    registry = bench.registry()
    assert registry.schema(7) is None
    bench.known[7] = TEXT
    bench.now_s = UNKNOWN_FOR_S - 1
    assert registry.schema(7) is None
    bench.now_s = UNKNOWN_FOR_S
    assert registry.schema(7) is not None
    assert bench.asked == [7, 7]


def test_the_cache_is_bounded_and_forgets_the_least_used() -> None:
    bench = Bench(dict.fromkeys(range(5), TEXT))
    registry = bench.registry(max_entries=2)
    for schema_id in (0, 1, 0, 2, 0, 1):
        registry.schema(schema_id)
    assert bench.asked == [0, 1, 2, 1]


def test_a_text_that_is_no_record_schema_is_as_good_as_none() -> None:
    assert Bench({1: '"string"'}).registry().schema(1) is None


def test_unavailability_is_not_remembered() -> None:
    def fetch(schema_id: int) -> str | None:
        asked.append(schema_id)
        raise RegistryUnavailable("away")

    asked: list[int] = []
    registry = CachedRegistry(fetch)
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            registry.schema(1)
    assert asked == [1, 1]


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(SettingsError, match=r"autodeep-id\[registry\]"):
        confluent_registry("http://localhost:1")


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = {
            "/schemas/ids/7": (200, {"schema": TEXT}),
            "/schemas/ids/8": (200, {"schema": "message M {}", "schemaType": "PROTOBUF"}),
            "/schemas/ids/9": (500, {"error_code": 50001, "message": "out of order"}),
        }.get(self.path.split("?")[0], (404, {"error_code": 40403, "message": "Schema not found"}))
        self._answer(status, body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        taken = (200, {"id": 12})
        refused = (409, {"error_code": 409, "message": "incompatible with an earlier schema"})
        self._answer(*(taken if self.path.startswith("/subjects/ids.alerts.") else refused))

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("certifi", "httpx", "authlib", "cachetools")),
    reason='the extra "registry" is not installed',
)


@needs_extra
@pytest.mark.filterwarnings("ignore")  # of the client's own libraries
def test_the_client_of_the_extra_asks_over_http(url: str) -> None:
    registry = confluent_registry(url, timeout_s=5)
    found = registry.schema(7)
    assert found is not None
    assert found.fingerprint == CURRENT.fingerprint
    assert registry.schema(8) is None
    assert registry.schema(404) is None
    with pytest.raises(RegistryUnavailable, match="out of order"):
        registry.schema(9)


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_a_schema_is_registered_under_every_subject_and_a_refusal_is_told(url: str) -> None:
    registry = confluent_registry(url, timeout_s=5)
    assert registry.register(["ids.alerts.dos-value", "ids.alerts.u2r-value"], CURRENT) == 12
    with pytest.raises(RegistryUnavailable, match="incompatible"):
        registry.register(["somebody-elses"], CURRENT)


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_a_registry_that_is_not_there_is_unavailable_and_named() -> None:
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RegistryUnavailable, match=url):
            confluent_registry(url, timeout_s=2).schema(1)


class Guarded(Answers):
    """Answers whoever logs in."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] == "Basic " + base64.b64encode(b"me:5ecret").decode():
            super().do_GET()
        else:
            self._answer(401, {"error_code": 401, "message": "Unauthorized"})


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_a_registry_with_a_log_in_and_an_authority_of_its_own_is_asked_as_the_settings_say(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("registry")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain_file, issued.key_file)
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        settings = Settings(
            schema_registry_url=f"https://localhost:{server.server_port}",
            schema_registry_username="me",
            schema_registry_password="5ecret",
            schema_registry_ca_file=str(authority.ca_file),
            network_timeout_s=5,
        )
        try:
            assert registry_of(settings).schema(7) is not None
            with pytest.raises(RegistryUnavailable, match="AUTODEEP_SCHEMA_REGISTRY_PASSWORD"):
                registry_of(replace(settings, schema_registry_password="wr0ng")).schema(7)
            with pytest.raises(RegistryUnavailable, match="certificate"):
                registry_of(replace(settings, schema_registry_ca_file="")).schema(7)
        finally:
            server.shutdown()
            thread.join()


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_an_authority_that_cannot_be_read_is_named_with_its_setting() -> None:
    with pytest.raises(SettingsError, match="AUTODEEP_SCHEMA_REGISTRY_CA_FILE"):
        registry_of(Settings(schema_registry_url="https://localhost:1", schema_registry_ca_file="/nowhere"))
