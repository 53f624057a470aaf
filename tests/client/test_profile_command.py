"""`autodeep profile`: a site's profile on its topic and in files, for people."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.kafka import profile_topic
from streams.adapters.kafka.profile_topic import change_profile, key_of, read_profiles
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import create_topics, topic_specs, touch_topics
from streams.cli.commands import app
from streams.client.profiles import write_file
from streams.codec.profiles import decode_profile, encode_profile
from streams.core.events import Message
from streams.core.profile.decisions import decide
from streams.core.profile.learning import learnt, next_revision
from streams.core.profile.values import Decision, Profile, Word, blank
from streams.core.profile.warm_up import WarmUp
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable
from streams.settings import Settings
from tests.core.profile.sites import MODEL, PEERS, day, judged

WORD = Word("ann", "looked at them", 1_700_000_000_000_000)
SAYS = ("--who", "ann", "--why", "the maker's cloud")


def warmed_up(before: Profile) -> Profile:
    warm_up = WarmUp("home")
    seen, scores, _ = judged(day(1, 1.0, 0))
    warm_up.add(seen, scores, PEERS)
    return learnt(before, warm_up, MODEL, WORD.at_us, Word("bob", "first day", WORD.at_us))


PROFILE = warmed_up(blank("home"))
CLOUD = next(one.id for one in PROFILE.proposals if "192.168.1.11 -> public tcp/443" in str(one.key))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["profile", *arguments])


@pytest.fixture
def settings(mock_kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=f"p{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("AUTODEEP_KAFKA_SERVERS", found.kafka_servers)
    monkeypatch.setenv("AUTODEEP_TOPIC_PREFIX", found.topic_prefix)
    touch_topics(found, [Topics(found.topic_prefix).profiles])
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "home.json"
    write_file(path, PROFILE)
    return path


def test_what_is_known_and_what_is_asked_is_shown_with_ids(file: Path) -> None:
    shown = run("show", "home", "--file", str(file))
    assert shown.exit_code == 0, shown.output
    for text in (
        "site home, revision 1",
        "judged by flows/1",
        "home/192.168.1.10 -> private tcp/8554",
        "c2, novel",
        CLOUD,
        "home/192.168.1.10 -> public tcp/4975",
        "198.51.100.7",
        "bob",
    ):
        assert text in shown.output
    assert decode_profile(run("show", "home", "--file", str(file), "--json").output.encode()) == PROFILE


def test_decisions_on_a_file_make_its_next_revisions(file: Path) -> None:
    assert "revision 2 of home" in run("accept", "home", CLOUD, *SAYS, "--file", str(file)).output
    assert "the maker's cloud" in run("show", "home", "--file", str(file)).output
    assert "revision 3 of home" in run("forget", "home", CLOUD, *SAYS, "--file", str(file)).output
    assert "revision 4 of home" in run("reject", "home", "all", *SAYS, "--file", str(file)).output
    profile = decode_profile(file.read_bytes())
    assert [one.action for one in profile.history] == ["learn", "accept", "forget", "reject"]
    assert profile.proposals == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("accept", "home", "0000000000", *SAYS), "nothing to accept by the id '0000000000'"),
        (("accept", "home", "all", "--who", "ann"), "--why"),
        (("show", "shop"), "the profile of site home, not of shop"),
        (("show", "a b"), "no name of a site"),
        (("accept", "home", "all", "--who", "x" * 501, "--why", "y"), "at most 500 characters"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(file: Path, arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments, "--file", str(file))
    assert done.exit_code != 0
    assert says in str(done.exception) + done.output
    assert decode_profile(file.read_bytes()) == PROFILE


def test_a_file_changed_by_hand_is_refused(file: Path) -> None:
    said = json.loads(file.read_text())
    said["revision"] = 9
    file.write_text(json.dumps(said))
    done = run("accept", "home", "all", *SAYS, "--file", str(file))
    assert f"{file}: revision 9 of site home was changed by hand" in str(done.exception)


def test_nothing_is_known_of_a_site_until_something_was_learnt(tmp_path: Path) -> None:
    assert "nothing is known of a site 'home'" in str(
        run("show", "home", "--file", str(tmp_path / "none")).exception
    )


def test_a_profile_goes_to_the_topic_and_back(settings: Settings, file: Path, tmp_path: Path) -> None:
    assert "revision 2 of home, in force in 10 s" in run("import", "home", str(file), *SAYS).output
    assert "revision 3 of home" in run("accept", "home", CLOUD, *SAYS).output
    assert CLOUD in run("show", "home").output
    out = tmp_path / "out.json"
    assert f"{out}: revision 3 of home" in run("export", "home", str(out)).output
    exported = decode_profile(out.read_bytes(), "home")
    assert exported == read_profiles(settings).newest("home")
    assert [one.action for one in exported.history] == ["learn", "import", "accept"]
    stale = run("import", "home", str(file), *SAYS)
    assert "home is at revision 3, and the file has revision 1" in str(stale.exception)
    assert "the profile of site home, not of shop" in str(run("import", "shop", str(file), *SAYS).exception)


def test_what_somebody_else_wrote_on_the_topic_is_passed_over(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    change_profile(settings, "home", lambda now: PROFILE)
    changed = encode_profile(PROFILE).replace(b'"revision":1', b'"revision":2')
    records = [(key_of("home", 2), changed), (key_of("home", 7), encode_profile(PROFILE)), (b"home", b"{")]
    with KafkaPublisher(settings) as publisher:
        topic = Topics(settings.topic_prefix).profiles
        publisher.publish([Message(topic, key, value) for key, value in records])
    assert read_profiles(settings).newest("home") == PROFILE
    assert caplog.text.count("is passed over") == 3


@pytest.mark.kafka
def test_revisions_are_given_once_and_the_oldest_go(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Kafka itself: whoever began first is refused once another one has begun."""
    settings = Settings(kafka_servers=kafka.bootstrap_servers, topic_prefix=f"p{uuid.uuid4().hex[:8]}")
    topics = Topics(settings.topic_prefix)
    create_topics(settings, [spec for spec in topic_specs(topics) if spec.name == topics.profiles])
    decision = Decision(0, "reject", (), WORD)

    def overtaken(now: Profile) -> Profile:
        change_profile(settings, "home", lambda now: decide(PROFILE, "accept", [CLOUD], WORD))
        return next_revision(now, decision)

    with pytest.raises(BrokerUnavailable, match="writing the profile of home"):
        change_profile(settings, "home", overtaken)
    assert read_profiles(settings).newest("home") == decide(PROFILE, "accept", [CLOUD], WORD)
    monkeypatch.setattr(profile_topic, "KEPT", 3)
    for _ in range(4):
        change_profile(settings, "home", lambda now: next_revision(now, decision))
    agreed = read_profiles(settings)
    assert [one.profile.revision for _, one in agreed.of_site["home"]] == [4, 5, 6]
    begins = [begins_us for begins_us, _ in agreed.of_site["home"]]
    assert begins == sorted(begins)
