"""What a worker knows of sites is never older than it says, and it says so where it is."""

from __future__ import annotations

import uuid
from contextlib import ExitStack

import pytest

from streams.adapters.kafka.profile_topic import change_profile
from streams.adapters.kafka.topics import touch_topics
from streams.core.profile.learning import next_revision
from streams.core.profile.values import Decision, Word
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable
from streams.settings import Settings
from streams.worker.profiles import Profiles
from tests.fakes import patient

DECISION = Decision(0, "reject", (), Word("ann", "not ours", 1))


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def settings_of(broker: Broker) -> Settings:
    return Settings(
        kafka_servers=broker.bootstrap_servers,
        topic_prefix=f"p{uuid.uuid4().hex[:8]}",
        network_timeout_s=10,
        flow_learning_s=60,
    )


def decide(settings: Settings, site: str) -> None:
    change_profile(settings, site, lambda now: next_revision(now, DECISION))


def test_each_look_finds_what_was_decided_since(mock_kafka: Broker) -> None:
    settings, clock = settings_of(mock_kafka), Clock()
    touch_topics(settings, [Topics(settings.topic_prefix).profiles])
    decide(settings, "home")
    profiles = Profiles(settings, clock)
    assert profiles.why_not() == "reading the profiles of sites takes too long"
    with ExitStack() as parts:
        sites = profiles.start(patient, parts)  # type: ignore[arg-type]
        assert sites.learning_ms == 60_000
        assert sites.why_not() is None
        found = sites.agreed().newest("home")
        assert found is not None
        assert found.revision == 1
    decide(settings, "shop")
    decide(settings, "home")
    profiles.look()
    found = sites.agreed().newest("home")
    assert found is not None
    assert found.revision == 2
    assert sites.agreed().newest("shop") is not None
    clock.now_s += 6
    assert sites.why_not() is not None
    profiles.look()
    assert sites.why_not() is None


def test_without_the_topic_no_site_has_a_profile(mock_kafka: Broker) -> None:
    settings = settings_of(mock_kafka)
    profiles = Profiles(settings, Clock())
    profiles.look()
    assert profiles.why_not() is None


def test_a_broker_that_is_away_is_said_and_nothing_is_taken_for_known() -> None:
    profiles = Profiles(Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3), Clock())
    with pytest.raises(BrokerUnavailable, match="looking at the profiles of sites"):
        profiles.look()
    assert profiles.why_not() is not None
