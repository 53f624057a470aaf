"""Our settings as Faust's. Why each is what it is: docs/decisions and the comments here."""

from __future__ import annotations

from typing import Any, Final

import faust
from faust.auth import OAuthCredentials
from faust.types.auth import CredentialsT

from streams.adapters.kafka.assignor import PresentPartitionAssignor
from streams.adapters.kafka.client import WORKER
from streams.adapters.kafka.security import RenewingContext, tokens
from streams.adapters.kafka.tables import Tables
from streams.adapters.kafka.tokens import TokenProvider
from streams.adapters.kafka.transport import QUEUE_NEVER_FULL, ChunkSchema
from streams.errors import SettingsError
from streams.settings import Settings

SCHEME: Final = "chunked://"
_SOME_PORT: Final = 6066  # Faust takes no 0; the socket of the pages is bound elsewhere (worker/pages.py)
_NO_FOLDER: Final = "/nonexistent/autodeep-id"  # nothing is written: tables are in memory
_NEVER_S: Final = 1e9
"""After so long without a fetch aiokafka leaves the group, and joins it again only once something is fetched.
Who has no partitions, or cannot finish what it has read, fetches nothing; health watches progress instead."""
METADATA_MAX_AGE_MS: Final = 10_000  # how soon partitions that were added are read; aiokafka's is 5 minutes


def app_settings(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `faust.App` beside its id. Raises SettingsError for settings that do not do."""
    if settings.kafka_heartbeat_s * 3 > settings.kafka_session_timeout_s:
        raise SettingsError(
            "AUTODEEP_KAFKA_HEARTBEAT_S may be a third of AUTODEEP_KAFKA_SESSION_TIMEOUT_S at most: one sign "
            "of life that is lost would cost a worker its partitions"
        )
    return {
        "broker": [SCHEME + server for server in server_list(settings)],
        "broker_credentials": credentials(settings),
        "broker_max_poll_records": settings.chunk_max_records,
        "broker_commit_interval": settings.commit_interval_s,
        "broker_session_timeout": settings.kafka_session_timeout_s,
        "broker_heartbeat_interval": settings.kafka_heartbeat_s,
        "broker_request_timeout": max(settings.network_timeout_s, settings.kafka_session_timeout_s) + 5.0,
        "broker_max_poll_interval": _NEVER_S,
        "broker_client_id": WORKER,  # the model agent asks the group who its members are
        "consumer_auto_offset_reset": "none",  # the transport seeks, and says what was lost
        "consumer_max_fetch_size": settings.kafka_fetch_max_bytes,
        "consumer_metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "processing_guarantee": "at_least_once",
        "store": "memory://",
        "datadir": _NO_FOLDER,
        "stream_wait_empty": True,  # the running chunk is finished before a stop or a rebalance
        "stream_buffer_maxsize": QUEUE_NEVER_FULL,
        "topic_allow_declare": False,  # topics are made by `autodeep topics create`
        "topic_disable_leader": True,
        "PartitionAssignor": PresentPartitionAssignor,
        "TableManager": Tables,
        "table_standby_replicas": 1,  # keeps the sticky assignor, which leaves devices where they were
        "web_bind": settings.web_bind,
        "web_port": settings.web_port or _SOME_PORT,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "autodiscover": False,
    }


def chunk_topic(app: faust.App, name: str) -> Any:
    """A topic whose agents receive `transport.Chunks`."""
    return app.topic(name, schema=ChunkSchema(), internal=False)


def server_list(settings: Settings) -> list[str]:
    return [server.strip() for server in settings.kafka_servers.split(",") if server.strip()]


def credentials(settings: Settings) -> CredentialsT | None:
    """None for plain text. A SASL user over plain text is what was asked for, and is done."""
    if settings.kafka_security == "PLAINTEXT":
        return None
    context = RenewingContext.of(settings) if settings.kafka_security.endswith("SSL") else None
    if settings.kafka_security == "SSL":
        return faust.SSLCredentials(context=context)
    source = tokens(settings)
    if source is not None:
        return OAuthCredentials(oauth_cb=TokenProvider(source), ssl_context=context)
    return faust.SASLCredentials(
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=settings.kafka_password,
        ssl_context=context,
    )
