"""What AUTODEEP_REDIS_URL says: one server, the sentinels of a primary, or nodes of a cluster.

    redis://[user:password@]host:port/db                                        rediss:// with TLS
    redis+sentinel://[user:password@]host:port,host:port/primary/db             rediss+sentinel://
        ?sentinel_username=…&sentinel_password=…
    redis+cluster://[user:password@]host:port,host:port                         rediss+cluster://

User and password are those of the Redis servers; sentinels have their own, or none. Further options stand
behind `?`, as redis-py knows them: `ssl_check_hostname=false` where nodes name themselves by address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlencode

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry

from streams.errors import SettingsError

SENTINEL_PORT: Final = 26379
PORT: Final = 6379
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_FORMS: Final = (
    "expected redis://host:port/db, redis+sentinel://host:port,host:port/primary or "
    "redis+cluster://host:port,host:port, each with user:password@ before the first host where Redis wants a "
    "log-in, rediss… for TLS, and options of redis-py's alone behind a question mark"
)

_PARTS: Final = re.compile(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.S)
"""Authority, path and query of what follows `://` (RFC 3986, appendix B)."""

Place = Mapping[str, Any]
"""Of one server: what redis-py's connection is made with."""


@dataclass(frozen=True, slots=True)
class Address:
    kind: Literal["server", "sentinel", "cluster"]
    places: Sequence[Place]
    """The server, the sentinels or some nodes of the cluster."""
    primary: str = ""
    """Its name among the sentinels."""
    of_primary: Place | None = None
    """All but host and port, which the sentinels know."""


def parse_address(url: str, timeout_s: float, ca_file: str = "") -> Address:
    """Raises SettingsError, without showing the URL: a password may stand in it."""
    try:
        return _parse(url, timeout_s, ca_file)
    except (ValueError, TypeError) as exc:
        raise SettingsError(f"AUTODEEP_REDIS_URL: {_FORMS}") from exc


def said(place: Place) -> str:
    """Where that is, for a person."""
    if "path" in place:
        return str(place["path"])
    return f"{place.get('host', 'localhost')}:{place.get('port', PORT)}"


def _parse(url: str, timeout_s: float, ca_file: str) -> Address:
    scheme, _, rest = url.partition("://")
    plain, _, kind = scheme.partition("+")
    if not kind:
        return Address("server", [_place(url, timeout_s, ca_file)])
    if plain not in {"redis", "rediss"} or kind not in {"sentinel", "cluster"}:
        raise ValueError("an unknown scheme")
    # Not by urlsplit, which takes one host: with several, newer Pythons refuse an IPv6 address among them.
    authority, path, query = _PARTS.fullmatch(rest).groups("")  # type: ignore[union-attr]  # it matches any text
    user, at, listed = authority.rpartition("@")
    hosts = listed.split(",")
    if not all(hosts):
        raise ValueError("a host without a name")
    options = dict(parse_qsl(query))
    of_sentinels = {name.removeprefix("sentinel_"): options.pop(name, None) for name in _OF_SENTINELS}

    def places(userinfo: str, port: int, path: str) -> list[Place]:
        urls = [f"{plain}://{userinfo}{host}{path}?{urlencode(options)}" for host in hosts]
        return [{"port": port, **_place(one, timeout_s, ca_file)} for one in urls]

    if kind == "cluster":
        if path.strip("/") not in {"", "0"} or any(of_sentinels.values()):
            raise ValueError("a cluster has no further databases, and no sentinels")
        return Address("cluster", places(f"{user}{at}", PORT, ""))
    primary, _, database = path.strip("/").partition("/")
    if not primary or not (database or "0").isdecimal():
        raise ValueError("the primary's name is missing, or its database is no number")
    known = {name: value for name, value in of_sentinels.items() if value}
    sentinels = [{**place, **known} for place in places("", SENTINEL_PORT, "")]
    (of_primary, *_) = places(f"{user}{at}", PORT, f"/{database}")
    return Address("sentinel", sentinels, unquote(primary), of_primary)


def _place(url: str, timeout_s: float, ca_file: str) -> Place:
    place: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # the pipeline's patience retries, and says so
        "health_check_interval": 30,
        **parse_url(url),  # type: ignore[no-untyped-call]
    }
    kind = place.get("connection_class", redis.Connection)
    if ca_file and issubclass(kind, SSLConnection):
        place["ssl_ca_certs"] = ca_file
    of_pool = {"connection_class", "max_connections"}
    kind(**{name: value for name, value in place.items() if name not in of_pool})  # TypeError: no such option
    return place
