"""Traffic windows: drawn timelines, and everything against a plain recomputation."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.kdd99 import KDD99
from streams.core.traffic import (
    KDD_FILE_CONNECTIONS,
    NAMES,
    REJ_ERRORS,
    SYN_ERRORS,
    Connection,
    Spans,
    Traffic,
    TrafficWindows,
    within,
)

A_SECOND = 1_000_000


def connection(
    at_s: float, service: str = "tcp/80", flag: str = "SF", host: str = "cam", port: int = 1
) -> Connection:
    return Connection(round(at_s * A_SECOND), host, service, port, flag)


def last_of(*connections: Connection, spans: Spans = Spans()) -> Traffic:  # noqa: B008
    windows = TrafficWindows(spans)
    return [windows.advance(each) for each in connections][-1]


def test_the_derived_features_are_the_end_of_a_row_in_the_tables_order() -> None:
    names = tuple(field.name for field in fields(Traffic))
    assert KDD99.numeric_names[-len(names) :] == names == NAMES
    rates = [column.name for column in KDD99.numeric[-len(names) :] if column.is_rate]
    assert rates == [name for name in names if name.endswith("rate")]


def test_values_are_in_that_order() -> None:
    assert Traffic(*range(19)).values() == tuple(range(19))


def test_a_connection_alone_counts_itself() -> None:
    alone = last_of(connection(0))
    assert alone == Traffic(1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0)


def test_the_window_of_two_seconds_is_half_open() -> None:
    # seconds      0    1    2    3
    #              a    b    c             c's window: (0, 2], so a is out
    #              a---------)
    assert last_of(connection(0), connection(1), connection(2)).count == 2
    assert last_of(connection(0.000001), connection(1), connection(2)).count == 3
    assert within(2, 2, 2)
    assert within(1, 2, 2)
    assert not within(0, 2, 2)
    assert not within(3, 2, 2)


def test_old_connections_leave_the_first_window_and_stay_in_the_second() -> None:
    # seconds   0  0.1  0.2                60
    #           a   b    c                 d
    late = last_of(connection(0), connection(0.1), connection(0.2), connection(60))
    assert (late.count, late.dst_host_count) == (1, 4)


def test_rates_of_different_services_count_distinct_ones_as_the_published_file_does() -> None:
    # to one host:   80  23          -> 2 services over 2 connections
    #                80  23  80      -> 2 over 3
    #                80  23  80  22  -> 3 over 4
    services = [connection(0), connection(0.1, "tcp/23"), connection(0.2), connection(0.3, "tcp/22")]
    seen = [last_of(*services[:n]) for n in (2, 3, 4)]
    assert [(each.same_srv_rate, each.diff_srv_rate) for each in seen] == [
        (0.5, 1.0),
        (0.67, 0.67),
        (0.25, 0.75),
    ]


def test_service_counts_reach_over_hosts_and_host_counts_over_services() -> None:
    #   cam:80   hub:80   hub:23   hub:80
    found = last_of(
        connection(0), connection(0.1, host="hub"), connection(0.2, "tcp/23", host="hub"),
        connection(0.3, host="hub"),
    )  # fmt: skip
    assert (found.count, found.srv_count) == (3, 3)
    assert (found.same_srv_rate, found.srv_diff_host_rate) == (0.67, 0.67)
    assert (found.dst_host_count, found.dst_host_srv_count) == (3, 3)


@pytest.mark.parametrize("flag", sorted(SYN_ERRORS))
def test_unanswered_connections_are_syn_errors(flag: str) -> None:
    found = last_of(connection(0), connection(0.1, flag=flag))
    assert (found.serror_rate, found.rerror_rate, found.dst_host_serror_rate) == (0.5, 0, 0.5)


@pytest.mark.parametrize("flag", sorted(REJ_ERRORS))
def test_refused_connections_are_rej_errors(flag: str) -> None:
    found = last_of(connection(0), connection(0.1, flag=flag))
    assert (found.rerror_rate, found.serror_rate, found.dst_host_srv_rerror_rate) == (0.5, 0, 0.5)


def test_a_flood_fills_the_windows_to_the_files_largest_counts_and_no_further() -> None:
    flood = [connection(i / 1000) for i in range(1500)]
    found = last_of(*flood, spans=Spans(connections=KDD_FILE_CONNECTIONS))
    assert (found.count, found.srv_count) == (511, 511)
    assert (found.dst_host_count, found.dst_host_srv_count) == (255, 255)


def test_the_second_window_holds_100_connections_unless_told_otherwise() -> None:
    flood = [connection(i * 10) for i in range(300)]
    found = last_of(*flood)
    assert (found.count, found.dst_host_count, found.dst_host_srv_count) == (1, 100, 100)


def test_a_connection_from_the_past_is_refused() -> None:
    windows = TrafficWindows()
    windows.advance(connection(2))
    windows.advance(connection(2, "tcp/23"))  # the same moment is not the past
    with pytest.raises(ValueError, match="came after"):
        windows.advance(connection(1))


@pytest.mark.parametrize("field", ["span_us", "most_in_span", "connections"])
def test_windows_that_hold_nothing_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match="at least the present connection"):
        replace(Spans(), **{field: 0})


def naive(history: list[Connection], spans: Spans) -> Traffic:
    """The features of the last connection, from all of the device's connections so far."""
    now = history[-1]
    recent = [each for each in history if now.ended_us - spans.span_us < each.ended_us]
    last = history[-spans.connections :]
    values = _naive_half(recent[-spans.most_in_span :], now), _naive_half(last, now)
    (count, srv, same, diff, hosts, _, errors), (d_count, d_srv, d_same, d_diff, d_hosts, port, d_errors) = (
        values
    )
    return Traffic(
        *(count, srv, *errors, same, diff, hosts, d_count, d_srv, d_same, d_diff, port, d_hosts, *d_errors)
    )


def _naive_half(held: list[Connection], now: Connection) -> Any:
    host = [each for each in held if each.host == now.host]
    service = [each for each in held if each.service == now.service]

    def share(part: list[Connection], whole: list[Connection]) -> float:
        return round(len(part) / len(whole), 2)

    def distinct(names: set[str], whole: list[Connection]) -> float:
        return round(len(names) / len(whole), 2) if len(names) > 1 else 0.0

    errors = [
        share([each for each in among if each.flag in flags], among)
        for flags in (SYN_ERRORS, REJ_ERRORS)
        for among in (host, service)
    ]
    return (
        len(host),
        len(service),
        share([each for each in host if each.service == now.service], host),
        distinct({each.service for each in host}, host),
        distinct({each.host for each in service}, service),
        share([each for each in host if each.source_port == now.source_port], host),
        errors,
    )


CONNECTIONS = st.lists(
    st.builds(
        connection,
        st.sampled_from([0, 0, 0.000001, 0.5, 0.999999, 1, 2, 2.000001, 30]),  # the gap before it
        st.sampled_from(["tcp/80", "tcp/23", "udp/53"]),
        st.sampled_from(["SF", "S0", "REJ", "SH", "OTH"]),
        st.sampled_from(["cam", "cloud", "hub"]),
        st.integers(1, 3),
    ),
    max_size=40,
)
SPANS = st.builds(Spans, st.sampled_from([1, 2 * A_SECOND]), st.integers(1, 12), st.integers(1, 12))


@given(CONNECTIONS, SPANS)
def test_every_step_equals_a_plain_recomputation(steps: list[Connection], spans: Spans) -> None:
    windows, history = TrafficWindows(spans), list[Connection]()
    for step in steps:
        before_us = history[-1].ended_us if history else 0
        history.append(replace(step, ended_us=before_us + step.ended_us))
        assert windows.advance(history[-1]) == naive(history, spans)
