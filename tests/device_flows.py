"""A flow of a device, for tests that need one."""

from __future__ import annotations

from streams.core.flows import DeviceFlow, Direction, Quality, Role, State


def flow_of(device: str, role: Role) -> DeviceFlow:
    return DeviceFlow(
        device=device,
        direction=Direction.OUT,
        role=role,
        peer="192.0.2.1",
        protocol="tcp",
        device_port=40_000,
        peer_port=443,
        service="ssl",
        state=State.ANSWERED,
        start_us=1,
        end_us=2,
        packets_out=3,
        packets_in=4,
        ip_bytes_out=5,
        ip_bytes_in=6,
        payload_bytes_out=None,
        payload_bytes_in=None,
        flow_id="C1",
        quality=Quality.NONE,
    )
