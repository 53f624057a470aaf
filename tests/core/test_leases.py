"""Which device had an address when, by what had been told when."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streams.core.leases import (
    FOREVER,
    MOST_OF_ADDRESS,
    SETTLED_US,
    Devices,
    Lease,
    in_force,
    spans,
    with_lease,
)

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def lease(start: int, end: int, name: str = A, told: int = 0) -> Lease:
    return Lease(start, end, name, name, told)


def name_at(leases: tuple[Lease, ...], at: int, known_by: int = FOREVER) -> str:
    found = in_force(leases, at, known_by)
    return found.name if found else ""


def grown(*told: Lease) -> tuple[Lease, ...]:
    found: tuple[Lease, ...] = ()
    for one in told:
        found = with_lease(found, one)
    return found


def test_the_lease_that_began_last_is_in_force_until_it_ends() -> None:
    leases = grown(lease(0, 100), lease(50, 70, B))
    assert [name_at(leases, at) for at in (-1, 0, 49, 50, 69, 70, 99)] == ["", A, A, B, B, "", ""]


def test_a_renewal_adds_time_and_a_release_takes_it_from_then_on() -> None:
    renewed = grown(lease(0, 100, told=10), lease(80, 180, told=90))
    assert [name_at(renewed, at) for at in (99, 100, 179, 180)] == [A, A, A, ""]
    assert name_at(renewed, 120, known_by=50) == ""
    released = with_lease(renewed, lease(80, 130, told=131))
    assert [name_at(released, at) for at in (129, 130, 179)] == [A, "", ""]
    assert name_at(released, 150, known_by=100) == A


def test_a_lease_that_was_told_later_does_not_count_for_what_came_before() -> None:
    devices = Devices()
    devices.put("house", "10.0.0.9", (lease(0, FOREVER, told=1_000_000),))
    for received_us, named in ((1_000_000 + SETTLED_US - 1, ""), (1_000_000 + SETTLED_US, A)):
        naming = devices.naming(received_us)
        assert naming is not None
        assert naming("house", "10.0.0.9", "", 5) == named


def test_a_lease_names_no_address_of_another_site_and_no_other_station() -> None:
    devices = Devices()
    devices.put("house", "10.0.0.9", (Lease(0, FOREVER, "camera", A, -SETTLED_US),))
    naming = devices.naming(0)
    assert naming is not None
    assert naming("house", "10.0.0.9", "", 5) == "camera"
    assert naming("house", "10.0.0.9", A, 5) == "camera"
    assert naming("house", "10.0.0.9", B, 5) == ""
    assert naming("plant", "10.0.0.9", "", 5) == ""
    assert Devices().naming(0) is None


tellings = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 60), st.sampled_from([A, B])), min_size=1, max_size=8
)


@given(tellings, st.integers(0, 130), st.integers(0, 9))
def test_what_is_told_changes_nothing_of_what_had_been_known(
    told: list[tuple[int, int, str]], at: int, known_by: int
) -> None:
    """So a record that is read again has the same device, as long as there is room for all that was told."""
    found: tuple[Lease, ...] = ()
    answers: dict[int, str] = {}
    for turn, (start, length, name) in enumerate(told):
        found = with_lease(found, lease(start, start + length, name, told=turn))
        if len(found) == MOST_OF_ADDRESS:
            return
        answers[turn] = name_at(found, at, turn)
        assert {before: name_at(found, at, before) for before in answers} == answers


@given(tellings)
def test_the_same_leases_told_once_more_change_nothing(told: list[tuple[int, int, str]]) -> None:
    """A file that is imported again: each row of it as the file as a whole says."""
    file = spans(grown(*(lease(start, start + length, name) for start, length, name in told)))
    once = grown(*file)
    assert spans(once) == file
    again = once
    for one in file:
        again = with_lease(again, replace(one, told_us=99))
    assert again == once


def test_leases_of_an_address_are_bounded_and_renewals_become_one() -> None:
    hourly = grown(*(lease(10 * hour, 10 * hour + 12, told=hour) for hour in range(100)))
    assert len(hourly) == MOST_OF_ADDRESS
    assert all(name_at(hourly, at) == A for at in range(0, 1_002))
    others = grown(*(lease(10 * at, 10 * at + 5, f"d{at}") for at in range(100)))
    assert len(others) == MOST_OF_ADDRESS
    assert name_at(others, 992) == "d99"


def test_the_table_is_bounded_and_says_what_there_was_no_room_for() -> None:
    devices = Devices(most=3)
    assert devices.put("", "10.0.0.1", (lease(0, 1), lease(1, 2)))
    assert not devices.put("", "10.0.0.2", (lease(0, 1), lease(1, 2)))
    assert devices.put("", "10.0.0.1", (lease(0, 1),))
    assert devices.put("", "10.0.0.2", (lease(0, 1), lease(1, 2)))
    assert devices.put("", "10.0.0.1", ())
    assert (len(devices), devices.refused) == (1, 1)
