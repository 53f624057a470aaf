"""Who workers are for Kafka in the fault bench: what they show, and what no broker takes any more."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.faults.access import Access, access_of, is_refused
from bench.faults.setups import KafkaForm
from streams.adapters.kafka.security import check_files, client_security
from streams.settings import PREFIX, Settings

MINUTE = datetime.timedelta(minutes=1)


@contextmanager
def asking_for_certificates(access: Access) -> Iterator[int]:
    """A server that shakes hands as a broker does, and greets whom it takes; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(access.authority.ca_file))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(access.secured.certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection, context.wrap_socket(connection, server_side=True) as shaken:
                    shaken.sendall(b"x")
                    shaken.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("is_over", [False, True])
def test_a_certificate_that_is_over_is_refused_though_the_files_hold_another(
    tmp_path: Path, is_over: bool
) -> None:
    access = access_of(KafkaForm.CERTIFICATES, tmp_path / "certificates")
    assert access is not None
    access.renew(-MINUTE if is_over else MINUTE)
    former = access.as_shown_now()
    access.renew(MINUTE)
    with asking_for_certificates(access) as port:
        assert is_refused(former, port) is is_over
    with asking_for_certificates(access) as port:
        assert not is_refused(access.as_shown_now(), port)


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (KafkaForm.LOG_IN, {"sasl.username", "ssl.ca.location"}),
        (KafkaForm.CERTIFICATES, {"ssl.certificate.location", "ssl.key.location", "ssl.ca.location"}),
    ],
)
def test_workers_show_what_their_listener_asks_for(tmp_path: Path, form: KafkaForm, shown: set[str]) -> None:
    access = access_of(form, tmp_path / "certificates")
    assert access is not None
    named = {f"{PREFIX}{name.upper()}": value for name, value in access.settings().items()}
    settings = Settings.from_environment(named)
    check_files(settings)
    assert shown <= client_security(settings).keys()
    assert access_of(KafkaForm.PLAIN, tmp_path) is None
