"""KDD'99's columns as a projection of a device's state: those of the plain windows, where both know them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.flow.columns import hash_of
from streams.core.flow.features import advance
from streams.core.flow.kdd import FLAGS, UNTOLD, projected, service_of
from streams.core.flow.records import Record, flows_of
from streams.core.flow.state import blank
from streams.core.flows import State
from streams.core.kdd99 import KDD99
from streams.core.traffic import NAMES, Connection, Spans, TrafficWindows
from tests.core.flow.drawn import START_US, record

# States whose KDD flag is a SYN error, a REJ error or none in both.
STATES = (State.ANSWERED, State.NO_ANSWER, State.REFUSED)

connections = st.lists(
    st.tuples(
        st.sampled_from([0, 1_000, 400_000, 1_999_000, 2_000_000]),  # since the one before
        st.integers(0, 1),  # role
        st.integers(1, 3),  # peer
        st.sampled_from([23, 80, 443]),
        st.sampled_from([40_000, 40_001]),
        st.sampled_from(STATES),
    ),
    min_size=1,
    max_size=130,
)


def drawn_flows(drawn: list[tuple[int, int, int, int, int, State]]) -> list[Record]:
    end_us, flows = START_US, []
    for at, (since_us, role, peer, asked, source, state) in enumerate(drawn):
        end_us += since_us
        mine, theirs = (source, asked) if role == 0 else (asked, source)
        replies = 0 if state is State.NO_ANSWER else 20
        sides = (
            {"packets_out": 20, "packets_in": replies}
            if role == 0
            else {"packets_out": replies, "packets_in": 20}
        )
        flows.append(
            record(
                role=role,
                direction=role,
                peer=peer,
                device_port=mine,
                peer_port=theirs,
                state=int(state),
                start_us=end_us,
                end_us=end_us,
                identity=at + 1,
                ip_bytes_out=40_000 + at,
                **sides,
            )
        )
    return flows


@given(connections, st.integers(1, 140))
def test_the_traffic_columns_are_those_of_the_plain_windows(
    drawn: list[tuple[int, int, int, int, int, State]], turn: int
) -> None:
    flows = drawn_flows(drawn)
    plain = TrafficWindows(Spans(most_in_span=100, connections=100))
    expected = []
    for flow in flows:
        asked, source = (
            (flow.peer_port, flow.device_port) if flow.role == 0 else (flow.device_port, flow.peer_port)
        )
        host = f"peer {flow.peer}" if flow.role == 0 else "the device"
        flag = FLAGS[State(flow.state)]
        expected.append(plain.advance(Connection(flow.end_us, host, f"tcp/{asked}", source, flag)).values())
    states, found = blank(1), []
    for first in range(0, len(flows), turn):
        step = advance(states, flows_of(flows[first : first + turn]))
        columns = projected(states, step.flows, step.flows.peer == 0)
        found += list(zip(*(columns[name] for name in NAMES), strict=True))
        states = step.states
    assert len(found) == len(expected)
    assert [tuple(map(float, row)) for row in found] == [tuple(map(float, row)) for row in expected]


def test_26_of_the_41_columns_are_told() -> None:
    columns = projected(blank(1), flows_of([record()]), flows_of([record()]).peer == 0)
    assert len(columns) == 26
    assert columns.keys() | set(UNTOLD) == set(KDD99.file_columns)
    assert not columns.keys() & set(UNTOLD)


def test_bytes_are_those_of_who_began_and_unknown_is_none() -> None:
    came = record(role=1, direction=1, payload_bytes_out=70, payload_bytes_in=-1)
    columns = projected(blank(1), flows_of([came]), flows_of([came]).peer == hash_of("nobody"))
    assert str(columns["src_bytes"][0]) == "nan"
    assert columns["dst_bytes"][0] == 70


def test_names_are_those_of_kdd() -> None:
    vocabulary = {column.name: set(column.symbols) for column in KDD99.symbolic}
    flags = {flag for flag in FLAGS.values() if flag}
    assert flags <= vocabulary["flag"]
    names = {service_of(protocol, port) for protocol in range(4) for port in range(65_536)}
    assert names <= vocabulary["service"]
    assert [service_of(1, 80), service_of(2, 53), service_of(3, 8 << 8)] == ["http", "domain_u", "eco_i"]
    assert [service_of(1, 1883), service_of(2, 60_000), service_of(3, 3 << 8 | 1)] == [
        "other",
        "private",
        "urh_i",
    ]
