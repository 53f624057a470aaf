"""A site's profile as JSON: on its topic, and in a file that a person may read, but not change by hand.

`digest` is the SHA-256 of all the rest. It is no signature: it tells a change made by mistake or by an editor
from one made by a decision, which has a revision of its own and says who made it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

from streams.codec.plain import is_int64, is_number, is_text, shown
from streams.core.flow.table import FLOW
from streams.core.profile.values import (
    PROTOCOLS,
    Action,
    Decision,
    How,
    Key,
    Known,
    Profile,
    Proposal,
    Rejected,
    Role,
    Threshold,
    WarmUpSeen,
    Word,
)
from streams.errors import DataError

FORMAT: Final = 1
Read = Callable[[str, Any], Any]


class ProfileRefused(DataError):
    """A profile that is damaged, changed by hand, of another site, or of a newer format."""


def encode_profile(profile: Profile) -> bytes:
    """One line of JSON."""
    said = _plain(profile)
    return _canonical({"digest": _digest(said), **said})


def decode_profile(value: bytes, site: str | None = None) -> Profile:
    """`site`: whose it has to be, None: anyone's. Raises ProfileRefused."""
    try:
        said = json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise ProfileRefused(f"the profile is no JSON: {exc}") from exc
    if not isinstance(said, dict):
        raise ProfileRefused("the profile is JSON, but no object")
    if said.get("format") != FORMAT:
        raise ProfileRefused(
            f"the profile has format {shown(said.get('format'))}, and this version reads format {FORMAT}"
        )
    try:
        profile: Profile = _profile("the profile", said)
    except ValueError as exc:
        raise ProfileRefused(f"the profile cannot be: {exc}") from exc
    if said["digest"] != _digest(_plain(profile)):
        raise ProfileRefused(
            f"revision {profile.revision} of site {profile.site} was changed by hand: its digest is another; "
            f"export it anew, and change it by `autodeep profile accept`, `reject` and `forget`"
        )
    if site is not None and profile.site != site:
        raise ProfileRefused(f"this is the profile of site {profile.site}, not of {site}")
    return profile


def _plain(profile: Profile) -> dict[str, Any]:
    """As JSON reads it back: mappings are no dataclasses, and tuples are lists."""
    said = {"format": FORMAT, **dataclasses.asdict(dataclasses.replace(profile, usual={}, proposals=()))}
    said["usual"] = dict(profile.usual)
    said["proposals"] = [
        {
            **dataclasses.asdict(dataclasses.replace(one, verdicts={})),
            "verdicts": dict(one.verdicts),
            "threshold": None if one.threshold is None else list(one.threshold),
        }
        for one in profile.proposals
    ]
    return said


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(said)).hexdigest()


def _canonical(said: Mapping[str, Any]) -> bytes:
    return json.dumps(
        said, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    ).encode()


def _int(where: str, value: Any) -> int:
    if not is_int64(value) or value < 0:
        raise ProfileRefused(f"{where} is {shown(value)}, not a whole number from 0 on")
    return value


def _float(where: str, value: Any) -> float:
    if not is_number(value):
        raise ProfileRefused(f"{where} is {shown(value)}, not a number")
    return float(value)


def _text(where: str, value: Any) -> str:
    if not is_text(value):
        raise ProfileRefused(f"{where} is {shown(value)}, not text")
    return value


def _one_of(*words: str) -> Read:
    def read(where: str, value: Any) -> str:
        if value not in words:
            raise ProfileRefused(f"{where} is {shown(value)}, not {' or '.join(words)}")
        return str(value)

    return read


def _list(of: Read) -> Read:
    def read(where: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ProfileRefused(f"{where} is {shown(value)}, not a list")
        return tuple(of(f"{where}[{place}]", one) for place, one in enumerate(value))

    return read


def _map(of: Read, names: tuple[str, ...] | None = None) -> Read:
    def read(where: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise ProfileRefused(f"{where} is {shown(value)}, not an object")
        strange = [name for name in value if names is not None and name not in names]
        if strange:
            raise ProfileRefused(f"{where} names {shown(strange[0])}, which is not known")
        return MappingProxyType({name: of(f"{where}.{name}", one) for name, one in value.items()})

    return read


def _maybe(of: Read) -> Read:
    return lambda where, value: None if value is None else of(where, value)


def _object(made: Callable[..., Any], **fields: Read) -> Read:
    def read(where: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ProfileRefused(f"{where} is {shown(value)}, not an object")
        for name in value:
            if name not in fields:
                raise ProfileRefused(f"{where} has the field {shown(name)}, which is not known")
        for name in fields:
            if name not in value:
                raise ProfileRefused(f"{where} lacks the field {name}")
        return made(**{name: of(f"{where}.{name}", value[name]) for name, of in fields.items()})

    return read


def _pair(where: str, value: Any) -> tuple[str, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ProfileRefused(f"{where} is {shown(value)}, not a class and a score")
    return _text(where, value[0]), _float(where, value[1])


def _whole(**fields: Any) -> Profile:
    """Format and digest are the caller's to check."""
    return Profile(**{name: value for name, value in fields.items() if name not in ("format", "digest")})


_WORD: Final = _object(Word, who=_text, why=_text, at_us=_int)
_HOW: Final = _one_of(*get_args(How))
_KEY: Final = _object(
    Key,
    device=_text,
    peer=_text,
    role=_one_of(*get_args(Role)),
    protocol=_one_of(*PROTOCOLS),
    port=_int,
)
_WARM_UP: Final = _object(
    WarmUpSeen, model=_text, model_digest=_text, flows=_int, devices=_int, from_us=_int, until_us=_int
)
_THRESHOLD: Final = _object(Threshold, verdict=_text, value=_float, how=_HOW, word=_WORD)
_KNOWN: Final = _object(Known, key=_KEY, covers=_list(_text), how=_HOW, word=_WORD, flows=_int)
_PROPOSAL: Final = _object(
    Proposal,
    key=_maybe(_KEY),
    threshold=_maybe(_pair),
    verdicts=_map(_int),
    flows=_int,
    failing=_int,
    unanswered=_int,
    first_us=_int,
    last_us=_int,
    peers=_list(_text),
)
_DECISION: Final = _object(
    Decision, revision=_int, action=_one_of(*get_args(Action)), subjects=_list(_text), word=_WORD
)
_profile: Final = _object(
    _whole,
    format=_int,
    digest=_text,
    site=_text,
    revision=_int,
    at_us=_int,
    warm_up=_maybe(_WARM_UP),
    thresholds=_list(_THRESHOLD),
    usual=_map(_float, FLOW.numeric_names),
    known=_list(_KNOWN),
    proposals=_list(_PROPOSAL),
    rejected=_list(_object(Rejected, id=_text, said=_text, word=_WORD)),
    history=_list(_DECISION),
)
