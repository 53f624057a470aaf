"""Why Kafka does not answer, or does not take what we send: librdkafka's errors in words that help.

librdkafka says "Broker transport failure" for every server that is none. What it found is told by the way, to
`error_cb`; this module listens there, and knows which setting is likely to be wrong.
"""

from __future__ import annotations

import re
from typing import Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.client import client_config, made, user, where
from streams.errors import AccessDenied
from streams.settings import Settings

_REPEATED: Final = re.compile(r"\s*\(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)")
_BROKER: Final = re.compile(r"^\S*bootstrap: ")
_SIZE: Final = re.compile(r"Invalid response size (-?\d+)")
_NO_TLS: Final = ("wrong version number", "packet length too long")
_CUT_SHORT: Final = ("PLAINTEXT broker", "unexpected eof")
"""A plain port does so, which takes the handshake for nonsense; but so does a proxy whose broker is away."""


class Heard:
    """What librdkafka told of its connections since it was last well. `note` is for `error_cb`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._errors: dict[int, KafkaError] = {}

    def note(self, error: KafkaError) -> None:
        known = self._errors.get(error.code())
        if known is None or not _about_tls(known) or _about_tls(error):  # the latest of the most telling
            self._errors[error.code()] = error

    def clear(self) -> None:
        self._errors.clear()

    def raise_refused(self) -> None:
        """Raises AccessDenied where a log-in or a certificate was refused: a retry is no use."""
        refusal = self._refusal()
        if refusal is not None:
            raise AccessDenied(f"Kafka at {where(self._settings)}: {refusal}")

    def why(self, error: KafkaError) -> str:
        """What to tell of a call that failed with `error`: what was heard meanwhile, and what is likely."""
        if error.code() not in _NOTHING_SAID:
            return str(error.str())
        for likely in (self._refusal, self._no_host, self._no_kafka, self._no_tls, self._other_failure):
            said = likely()
            if said is not None:
                return said
        return (
            f"{error.str()}: something takes connections there and gives no answer, or a firewall drops "
            f"them; a port of another protocol does so, or one that wants TLS ({self._asked_for})"
        )

    def _refusal(self) -> str | None:
        settings = self._settings
        error = next(filter(_is_about_certificates, self._errors.values()), None)
        if error is not None:
            return (
                f"no TLS: {_plain(error)}; check the brokers' certificate and AUTODEEP_KAFKA_CA_FILE, and "
                "ours, AUTODEEP_KAFKA_CERTIFICATE_FILE"
            )
        error = self._errors.get(KafkaError._AUTHENTICATION)
        if error is None:
            return None
        if settings.kafka_sasl_mechanism in _WITH_TOKENS:
            return f"{_plain(error)}; check AUTODEEP_KAFKA_SASL_MECHANISM and AUTODEEP_KAFKA_OAUTH_…"
        return (
            f"it refuses user {settings.kafka_username!r}: {_plain(error)}; check AUTODEEP_KAFKA_USERNAME, "
            "AUTODEEP_KAFKA_PASSWORD and AUTODEEP_KAFKA_SASL_MECHANISM"
        )

    @property
    def _asked_for(self) -> str:
        return f"AUTODEEP_KAFKA_SECURITY is {self._settings.kafka_security}"

    def _no_host(self) -> str | None:
        error = self._errors.get(KafkaError._RESOLVE)
        return None if error is None else f"{_plain(error)}: no such host is known here"

    def _no_kafka(self) -> str | None:
        error = self._errors.get(KafkaError._BAD_MSG)
        found = None if error is None else _SIZE.search(error.str())
        if found is None:
            return None
        begins = (int(found[1]) & 0xFFFFFFFF).to_bytes(4, "big")
        return f"the port speaks another protocol than Kafka's: its answer begins with {begins!r}"

    def _no_tls(self) -> str | None:
        for code in (KafkaError._SSL, KafkaError._TRANSPORT):
            error = self._errors.get(code)
            if error is None:
                continue
            if _speaks_no_tls(error):
                return f"the port does not speak TLS ({_plain(error)}); {self._asked_for}"
            if _cut_short(error):
                return (
                    "the port closes the connection before TLS is agreed on: it does not speak TLS "
                    f"({self._asked_for}), or it is a proxy whose broker does not run ({_plain(error)})"
                )
        return None

    def _other_failure(self) -> str | None:
        error = self._errors.get(KafkaError._TRANSPORT)
        if error is not None:
            return f"{_plain(error)}; {CHECK_BROKERS}"
        if KafkaError._ALL_BROKERS_DOWN in self._errors:
            return (
                "the port takes connections and closes them without an answer: it speaks another protocol "
                f"than Kafka's, or wants TLS or a log-in; {self._asked_for}"
            )
        return None


class Admin:
    """An admin client and what it hears."""

    def __init__(self, settings: Settings) -> None:
        self.heard = Heard(settings)
        self.client = made(AdminClient, {**client_config(settings), "error_cb": self.heard.note}, settings)


def advice(error: KafkaError, settings: Settings, topic: str | None = None) -> str:
    """What the reader can do about a message that was not taken."""
    code = error.code()
    if code in _NO_RIGHT:
        right = _NO_RIGHT[code].format(topic=topic or "each that it writes to", prefix=settings.topic_prefix)
        return f"{user(settings)} lacks {right} (docs/operating.md lists the rights)"
    if code in (KafkaError.UNSUPPORTED_COMPRESSION_TYPE, KafkaError._BAD_COMPRESSION):
        return (
            f"the broker does not take AUTODEEP_KAFKA_COMPRESSION={settings.kafka_compression}: set another, "
            "such as gzip or none"
        )
    if code in _MISSING:
        absent = "the topics" if topic is None else f"topic {topic}, which is not there"
        return f"`autodeep topics create` makes {absent}"
    return CHECK_BROKERS


CHECK_BROKERS: Final = "check that the brokers run and can be reached"
_MISSING: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
_NO_RIGHT: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "WRITE on topic {topic}",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "WRITE on topic {topic} (IDEMPOTENT_WRITE before Kafka 2.8)",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE on transactional id {prefix}.models",
}
_NOTHING_SAID: Final = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
}
"""What librdkafka answers whatever it was."""
_WITH_TOKENS: Final = ("OAUTHBEARER", "AWS_MSK_IAM")


def _plain(error: KafkaError) -> str:
    return _BROKER.sub("", _REPEATED.sub("", error.str())).strip()


def _about_tls(error: KafkaError) -> bool:
    return "SSL" in error.str()


def _is_about_certificates(error: KafkaError) -> bool:
    """Theirs does not hold, or ours is not taken: their alert comes as a failure to receive."""
    if error.code() == KafkaError._SSL:
        return not (_speaks_no_tls(error) or _cut_short(error))
    return error.code() == KafkaError._TRANSPORT and "SSL alert" in error.str()


def _speaks_no_tls(error: KafkaError) -> bool:
    return any(sign in error.str() for sign in _NO_TLS)


def _cut_short(error: KafkaError) -> bool:
    said = error.str()
    return any(sign in said for sign in _CUT_SHORT) or ("Disconnected" in said and "SSL_HANDSHAKE" in said)
