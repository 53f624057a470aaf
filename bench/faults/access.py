"""Who the workers are for a Kafka that asks: a log-in or a certificate, and the rights that they have."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from bench.faults.setups import KafkaForm
from streams.adapters.kafka.client import LOG, client_config
from streams.adapters.kafka.rights import worker_rights
from streams.embedded.certificates import Authority, Issued
from streams.embedded.kafka import Secured
from streams.settings import Settings

USER: Final = "worker"
_PASSWORD: Final = "of-the-bench"
_ASK_S: Final = 60.0
_PAUSE_S: Final = 0.5
_REFUSED_WITHIN_S: Final = 2.0
_BACK_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    form: KafkaForm
    authority: Authority
    secured: Secured
    shown: Issued
    """The files that workers read; what is in them is renewed."""

    def settings(self) -> dict[str, str]:
        """Of the workers."""
        own = {"kafka_ca_file": str(self.authority.ca_file)}
        if self.form is KafkaForm.CERTIFICATES:
            return own | {
                "kafka_security": "SSL",
                "kafka_certificate_file": str(self.shown.chain_file),
                "kafka_key_file": str(self.shown.key_file),
            }
        return own | {
            "kafka_security": "SASL_SSL",
            "kafka_username": USER,
            "kafka_password": _PASSWORD,
        }

    def renew(self, valid_for: datetime.timedelta) -> None:
        """One file after the other, as many tools do it."""
        fresh = self.authority.issue(USER, valid_for, file="fresh")
        fresh.key_file.replace(self.shown.key_file)
        fresh.chain_file.replace(self.shown.chain_file)

    def as_shown_now(self) -> ssl.SSLContext:
        """A client that keeps the certificate of now, whatever becomes of the files."""
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        context.load_cert_chain(self.shown.chain_file, self.shown.key_file)
        return context


def access_of(form: KafkaForm, folder: Path) -> Access | None:
    """None where nobody asks."""
    if form is KafkaForm.PLAIN:
        return None
    folder.mkdir()
    authority = Authority(folder)
    brokers, shown = authority.issue("kafka"), authority.issue(USER)
    if form is KafkaForm.CERTIFICATES:
        secured = Secured(brokers.both_file, {}, authority.ca_file)
    else:
        secured = Secured(brokers.both_file, {USER: _PASSWORD})
    return Access(form, authority, secured, shown)


def is_refused(client: ssl.SSLContext, port: int) -> bool:
    """A broker that takes a certificate waits for the first request; one that does not says so at once.

    One that is being struck is waited for. Raises OSError where it does not come back.
    """
    deadline_s = time.monotonic() + _BACK_WITHIN_S
    while True:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), _REFUSED_WITHIN_S) as plain,
                client.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                return not connection.recv(1)
        except TimeoutError:
            return False
        except ssl.SSLError:
            return True
        except ConnectionError:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(_PAUSE_S)


def least_rights(settings: Settings) -> list[AclBinding]:
    """All that docs/operating.md asks for."""
    bindings = [
        allowed(ResourceType.TOPIC, topic, right)
        for topic, wanted in worker_rights(settings).items()
        for right in wanted
    ]
    models = f"{settings.topic_prefix}.models"
    return [
        *bindings,
        allowed(ResourceType.GROUP, settings.group, AclOperation.READ),
        allowed(ResourceType.TRANSACTIONAL_ID, models, AclOperation.WRITE, ResourcePatternType.PREFIXED),
    ]


def allowed(
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)


def give(settings: Settings, rights: list[AclBinding]) -> None:
    """Given already is given."""
    _until_answered(settings, lambda admin: admin.create_acls(rights, request_timeout=_ASK_S))


def take(settings: Settings, right: AclBinding) -> None:
    """Away, while workers run."""
    wanted = AclBindingFilter(
        right.restype, right.name, right.resource_pattern_type, right.principal, right.host,
        right.operation, right.permission_type,
    )  # fmt: skip
    _until_answered(settings, lambda admin: admin.delete_acls([wanted], request_timeout=_ASK_S))


def _until_answered(settings: Settings, ask: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> None:
    """A broker may be away meanwhile."""
    admin, deadline_s = AdminClient(client_config(settings), logger=LOG), time.monotonic() + _ASK_S
    while True:
        try:
            for answer in ask(admin).values():
                answer.result()
        except KafkaException:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def wait_past(moment: datetime.datetime) -> None:
    """Certificates count in whole seconds."""
    while (left_s := moment.timestamp() + 1.0 - time.time()) > 0:
        time.sleep(left_s)
