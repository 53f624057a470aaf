"""A profile's JSON: read back as it was, and refused where somebody else wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.profiles import ProfileRefused, decode_profile, encode_profile
from streams.core.profile.decisions import decide
from streams.core.profile.learning import learnt
from streams.core.profile.values import Key, Known, Profile, Proposal, Word, blank
from streams.core.profile.warm_up import WarmUp
from tests.core.profile.sites import MODEL, PEERS, day, judged

WORD = Word("ann", "our cloud, see ticket 7", 1_700_000_000_000_000)


def site() -> Profile:
    warm_up = WarmUp("home")
    seen, scores, _ = judged(day(1, 1.0, 0))
    warm_up.add(seen, scores, PEERS)
    profile = learnt(blank("home"), warm_up, MODEL, 5, WORD)
    profile = decide(profile, "accept", [profile.proposals[0].id], WORD)
    return decide(profile, "reject", [profile.proposals[0].id], WORD)


PROFILE = site()


def test_a_profile_is_read_back_as_it_was() -> None:
    value = encode_profile(PROFILE)
    assert decode_profile(value, "home") == PROFILE
    assert encode_profile(decode_profile(value)) == value
    assert PROFILE.revision == 3


@settings(max_examples=25, deadline=None)
@given(
    st.text(max_size=20).filter(lambda one: "/" not in one), st.text(max_size=40), st.integers(0, 2**31 - 1)
)
def test_any_text_and_revision_is_read_back(name: str, why: str, revision: int) -> None:
    key = Key(f"home/{name}", "public", "target", "icmp", 2048)
    made = Profile("home", revision, proposals=(Proposal(key, flows=3, peers=(why,) if why else ()),))
    assert decode_profile(encode_profile(made)) == made


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    said = json.loads(encode_profile(PROFILE))
    change(said)
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "no JSON"),
        (b"[]", "no object"),
        (b"[" * 100_000, "no JSON"),
        (altered(lambda said: said.update(format=2)), "format 2, and this version reads format 1"),
        (altered(lambda said: said.update(revision=9)), "revision 9 of site home was changed by hand"),
        (altered(lambda said: said["known"][0].update(covers=["dos"])), "changed by hand"),
        (altered(lambda said: said.update(revision=-1)), "revision is -1, not a whole number"),
        (altered(lambda said: said.update(revision=2.5)), "revision is 2.5"),
        (altered(lambda said: said.update(note="hello")), "the field 'note', which is not known"),
        (altered(lambda said: said["known"][0].pop("how")), "known[0] lacks the field how"),
        (altered(lambda said: said["known"][0]["key"].update(port=70_000)), "70000 is no port"),
        (altered(lambda said: said["known"][0]["key"].update(device="x/1")), "a device of site x"),
        (altered(lambda said: said["known"][0].update(covers=["bad"])), "'bad' is no class of alerts"),
        (altered(lambda said: said["known"].append(said["known"][0])), "stands there twice"),
        (altered(lambda said: said["usual"].update(nothing=1)), "names 'nothing', which is not known"),
        (altered(lambda said: said.update(site="a b")), "no name of a site"),
        (altered(lambda said: said.update(known={})), "known is an object, not a list"),
    ],
)  # fmt: skip
def test_what_no_decision_made_is_refused(value: bytes, says: str) -> None:
    with pytest.raises(ProfileRefused) as caught:
        decode_profile(value)
    assert says in str(caught.value)


def test_the_profile_of_another_site_is_refused() -> None:
    with pytest.raises(ProfileRefused, match="the profile of site home, not of shop"):
        decode_profile(encode_profile(PROFILE), "shop")


def test_a_profile_as_full_as_it_can_be_fits_into_a_message() -> None:
    keys = [Key(f"home/0a:1b:2c:3d:{n:05x}", "private", "originator", "tcp", 443) for n in range(2_000)]
    known = tuple(Known(key, ("c2", "novel"), "learnt", Word("", "", 1), 10_000) for key in keys)
    proposals = tuple(
        Proposal(Key(one.device, "public", "target", "udp", 5353), flows=9, peers=("2001:db8::1234",) * 3)
        for one in keys[:500]
    )
    full = Profile("home", 3, known=known, proposals=proposals)
    assert len(encode_profile(full)) < 1_000_000
