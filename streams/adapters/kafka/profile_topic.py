"""The compacted topic of sites' profiles: every revision under a key of its own, so that a replay finds it.

    key     SITE/REVISION, the revision in ten digits
    value   the profile (codec/profiles.py); a tombstone where a revision is older than those that are kept

A revision is written in a transaction: whoever begins one is told all that was written before, and the broker
refuses what another one, begun earlier, still wants to write. So no revision is given twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from streams.adapters.kafka.client import made, producer_config, where
from streams.adapters.kafka.heard import advice
from streams.adapters.kafka.reading import Reader
from streams.codec.profiles import ProfileRefused, decode_profile, encode_profile
from streams.core.profile.agreed import KEPT, Agreed
from streams.core.profile.values import Profile, blank
from streams.core.topics import Topics, profile_writer
from streams.errors import BrokerUnavailable
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.profiles")

_LEAST_TRANSACTION_S: Final = 10.0
_PARTITION: Final = 0
"""Revisions of a site come in order, however many partitions the topic was given."""


def read_profiles(settings: Settings) -> Agreed:
    """All that is agreed on about all sites. Raises BrokerUnavailable."""
    with Reader(settings, "reading the profiles of sites", {"group.id": "autodeep-profiles"}) as reader:
        reader.assign(reader.places([Topics(settings.topic_prefix).profiles]))
        agreed = Agreed()
        for message in reader.to_the_end():
            agreed = taken(agreed, message)
    return agreed


def ends_of_profiles(settings: Settings) -> tuple[int, ...]:
    """One past the last record of each partition; nothing where there is no such topic, and so no profile.

    Raises BrokerUnavailable.
    """
    topic = Topics(settings.topic_prefix).profiles
    with Reader(settings, "looking at the profiles of sites", {"group.id": "autodeep-profiles"}) as reader:
        if not reader.partitions().get(topic):
            return ()
        return tuple(reader.bounds(place)[1] for place in reader.places([topic]))


def change_profile(settings: Settings, site: str, change: Callable[[Profile], Profile]) -> Profile:
    """The profile as `change` makes it of the newest one, once it is on the topic.

    Raises what `change` raises, and BrokerUnavailable: then it is not known whether it was written.
    """
    config = {
        **producer_config(settings),
        "transactional.id": profile_writer(settings.topic_prefix),
        "transaction.timeout.ms": int(max(2 * settings.network_timeout_s, _LEAST_TRANSACTION_S) * 1000),
    }
    topic = Topics(settings.topic_prefix).profiles
    try:
        producer = made(Producer, config, settings)
        producer.init_transactions(settings.network_timeout_s)
        agreed = read_profiles(settings)  # after the line above: nobody else can write any more
        after = change(agreed.newest(site) or blank(site))
        old = [one.profile.revision for _, one in agreed.of_site.get(site, ())]
        producer.begin_transaction()
        producer.produce(topic, encode_profile(after), key_of(site, after.revision), _PARTITION)
        for revision in old[: max(0, len(old) + 1 - KEPT)]:
            producer.produce(topic, None, key_of(site, revision), _PARTITION)
        producer.commit_transaction(settings.network_timeout_s)
    except KafkaException as exc:
        error = exc.args[0]
        raise BrokerUnavailable(
            f"writing the profile of {site} on Kafka at {where(settings)}: {error.str()}; "
            f"{advice(error, settings, topic)}"
        ) from exc
    return after


def key_of(site: str, revision: int) -> bytes:
    return f"{site}/{revision:010d}".encode()


def taken(agreed: Agreed, message: KafkaMessage) -> Agreed:
    """With a record of the topic; what is no profile under its own key is passed over with a line."""
    value = message.value()
    if value is None:
        site, _, revision = (message.key() or b"").decode(errors="replace").partition("/")
        return agreed.without(site, int(revision)) if revision.isdecimal() and len(revision) == 10 else agreed
    try:
        profile = decode_profile(value)
        if message.key() != key_of(profile.site, profile.revision):
            raise ProfileRefused(f"revision {profile.revision} of {profile.site} stands under another key")
    except ProfileRefused as exc:
        log.warning("a profile at offset %s of %s is passed over: %s", message.offset(), message.topic(), exc)
        return agreed
    return agreed.with_revision(profile, message.timestamp()[1] * 1000)
