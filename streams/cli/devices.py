"""`autodeep devices`: which device had an address when, by leases of DHCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.flow_options import HOME

if TYPE_CHECKING:
    from streams.client.leasing import Changed, Gathered

app = typer.Typer(no_args_is_help=True, help="Name devices by leases of DHCP, for the keys of their flows.")


@app.callback()
def _group() -> None:
    pass


@app.command("import")
def import_(
    file: str = typer.Argument(help="Leases of dnsmasq, ISC dhcpd or Kea, or CSV; - is standard input."),
    *,
    site: str = typer.Option("", help="Site of the addresses; empty: the rows' own, or AUTODEEP_SITE."),
    names: str = typer.Option("mac", help="Call devices by mac or by hostname, where it is told."),
    home: str = HOME,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be told."),
) -> None:
    """Tell workers which device had an address when. Import at each change: only what is new is written.

    Workers key flows by these names from a minute after they were told (docs/guarantees.md). CSV needs a
    header with address, and name or mac; start, end and site if you like. Example:

        autodeep devices import /var/lib/misc/dnsmasq.leases --site house

    Exit codes: 2 the file or an option cannot be used, 5 some of its rows were refused, 69 Kafka is away.
    """
    import time

    from streams.adapters.kafka.device_topic import read_devices, tell_leases
    from streams.cli.flows import chosen
    from streams.cli.output import say
    from streams.client.flow_files import opened
    from streams.client.homes import home_of
    from streams.client.lease_files import lease_rows
    from streams.client.leasing import SLOW_S, Means, Naming, gathered, told_anew
    from streams.core.home import SITE
    from streams.errors import BrokerUnavailable, DataError, SettingsError

    settings = chosen(home, "", "")
    if names not in list(Naming):
        raise SettingsError(f"--names {names}: expected {' or '.join(Naming)}")
    if site and not SITE.fullmatch(site):
        raise SettingsError(f"--site {site}: 1 to 64 letters, digits, '.', '_' and '-'")
    means = Means(home_of(settings), site, Naming(names), time.time_ns() // 1_000)
    with opened(file) as stream:
        found = gathered(lease_rows(stream), means)
    if not found.used and found.wrong:
        (reason, _), *_ = found.wrong.most_common(1)
        raise DataError(f"{file}: no row is a lease; line {found.first_line[reason]} {reason}")
    known = read_devices(settings)
    began_s = time.monotonic()
    changed = told_anew(known, found)
    if not dry_run:
        tell_leases(settings, changed)
        if time.monotonic() - began_s > SLOW_S:
            raise BrokerUnavailable(
                f"the leases are told, but it took more than {SLOW_S:.0f} s: flows of these seconds that are "
                "read again may get other keys (docs/guarantees.md)"
            )
    for line in _account(found, changed, dry_run=dry_run):
        say(line)
    if found.wrong:
        raise typer.Exit(5)


def _account(found: Gathered, changed: Changed, *, dry_run: bool) -> list[str]:
    from streams.legible import counted

    would = "would be told" if dry_run else "told"
    lines = [
        f"{counted(found.used, 'lease')} in {counted(found.rows, 'row')}; of "
        f"{len(found.devices):,} addresses {len(changed):,} {would} anew, the others as they were"
    ]
    if found.overlapping:
        lines.append(
            f"{found.overlapping:,} began while another device had the address: from then on they count"
        )
    for word, counts in (("refused", found.wrong), ("passed over", found.passed)):
        for reason, count in counts.most_common():
            lines.append(f"{word}: {count:,}, the first in line {found.first_line[reason]:,}, which {reason}")
    return lines


@app.command("list")
def list_(
    *,
    site: str = typer.Option("", help="Only of this site."),
    everything: bool = typer.Option(False, "--all", help="Also leases that are over, or to come."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a lease."),
) -> None:
    """List the leases in force, as workers read them. Example: autodeep devices list --all --json"""
    import json
    import os
    import time

    from rich.table import Table

    from streams.adapters.kafka.device_topic import read_devices
    from streams.cli.output import add_row, console
    from streams.client.leasing import listed
    from streams.codec.times import rfc3339
    from streams.core.leases import FOREVER
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    rows = listed(read_devices(settings), site, time.time_ns() // 1_000, everything=everything)
    table = Table("site", "address", "name", "mac", "from", "until", "told", box=None)
    for of, address, one in rows:
        end = None if one.end_us == FOREVER else rfc3339(one.end_us)
        start, told = rfc3339(one.start_us), rfc3339(one.told_us)
        if as_json:
            shown = {"site": of, "address": address, "name": one.name, "mac": one.mac}
            typer.echo(json.dumps({**shown, "start": start, "end": end, "told": told}))
        else:
            add_row(
                table, of, address, one.name, one.mac, start[:19] + "Z", (end or "")[:19], told[:19] + "Z"
            )
    if not as_json:
        console().print(table)
    if not rows and not as_json:
        typer.echo("no address has a lease now; `autodeep devices import` tells them", err=True)
