"""`autodeep models promote` and `rollback`: a command to the model agent, and its decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.output import say

if TYPE_CHECKING:
    from streams.codec.models import ModelCommand, ModelState

_WAIT_S = 30.0
WAIT = typer.Option(_WAIT_S, "--wait", min=0, max=86_400, help="Seconds to wait for the decision.")
_WAIT_EXACT_S = 90.0
"""All workers get ready first, for which they have AUTODEEP_MODEL_SWITCH_TIMEOUT_S."""
FAMILY = typer.Argument(
    "", help="The models' name, as kdd99 of kdd99/2. Empty: the family that the workers serve."
)
JSON = typer.Option(False, "--json", help="Print the decision as one JSON object.")
STORE = typer.Option(
    "", "--store", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL; empty: the shipped models."
)
TRUST_KEY = typer.Option(
    "",
    "--trust-key",
    envvar="AUTODEEP_MODEL_TRUST_KEY",
    help="PEM file of an Ed25519 public key: do not send what it did not sign.",
)
_SAID = {
    "promoted": "promoted",
    "rolled_back": "rolled back to",
    "shadowing": "in the champion's shadow:",
    "canarying": "canary:",
    "dismissed": "dismissed",
}
_ASK_S = 2.0
"""What a command that can do without Kafka waits for it."""


def promote(
    ref: str = typer.Argument(help="name/version or name@alias"),
    *,
    force: bool = typer.Option(
        False, "--force", help="Even where its classes are fewer than the champion's."
    ),
    at_offset: str = typer.Option(
        "", "--at-offset", metavar="now", help="Switch all workers at the same offsets: where they end now."
    ),
    wait_s: float | None = typer.Option(
        None,
        "--wait",
        min=0,
        max=86_400,
        help="Seconds to wait for the decision; 30, or 90 with --at-offset.",
    ),
    store: str = STORE,
    trust_key: str = TRUST_KEY,
    as_json: bool = JSON,
) -> None:
    """Ask the model agent to let a version serve, and wait for its decision. Example:

        autodeep models promote kdd99/2

    The agent examines the model beside the champion; each worker switches as soon as it has loaded it. With
    --at-offset now all switch at the same offsets, once all have loaded it; they pause for a moment.
    Exit codes: 0 promoted, 2 an option is wrong, 3 refused, 69 Kafka did not answer or nobody decided.
    """
    import dataclasses

    from streams.errors import SettingsError

    if at_offset not in ("", "now"):
        raise SettingsError(f"--at-offset {at_offset}: only now can be asked for")
    ordered = dataclasses.replace(named("promote", ref, store, trust_key), force=force)
    if at_offset:
        ordered = dataclasses.replace(ordered, at_offsets={})
    if wait_s is None:
        wait_s = _WAIT_EXACT_S if at_offset else _WAIT_S
    carry_out(ordered, wait_s, as_json)


def rollback(family: str = FAMILY, *, wait_s: float = WAIT, as_json: bool = JSON) -> None:
    """Go back to the family's champion before, and wait for the model agent's decision. Example:

        autodeep models rollback kdd99 --json

    Exit codes: 0 rolled back, 3 refused, 69 Kafka did not answer or nobody decided.
    """
    carry_out(command("rollback", family), wait_s, as_json)


def active_states() -> dict[str, ModelState] | None:
    """By family; None, with a line on stderr, where Kafka did not answer."""
    import dataclasses
    import os
    import sys

    from streams.adapters.kafka.model_topics import newest_states
    from streams.errors import Unavailable
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    try:
        return newest_states(
            dataclasses.replace(settings, network_timeout_s=min(settings.network_timeout_s, _ASK_S))
        ).by_family()
    except Unavailable as exc:
        print(f"autodeep: not known which model serves: {exc}", file=sys.stderr)
        return None


def named(action: str, ref: str, store: str, trust_key: str) -> ModelCommand:
    """A command about the version that a reference means now. Raises ModelRejected where it is retired."""
    from streams.adapters.store.models import open_store
    from streams.errors import ModelRejected

    opened = open_store(store, trust_key)
    identity = opened.identify(ref)
    if identity.version in opened.retired(identity.name):
        raise ModelRejected(f"{identity.name}/{identity.version}: is retired, and not to be promoted")
    return command(action, identity.name, identity.version, identity.digest)


def command(action: str, name: str = "", version: str = "", digest: str = "") -> ModelCommand:
    """A command as of now, with an id of its own."""
    import os
    import socket
    import time
    import uuid

    from streams.codec.models import ModelCommand

    return ModelCommand(
        command_id=str(uuid.uuid4()),
        action=action,
        name=name,
        version=version,
        digest=digest,
        issued_at_us=time.time_ns() // 1000,
        issued_by=f"{os.environ.get('USER', '')}@{socket.gethostname()}",
    )


def carry_out(ordered: ModelCommand, wait_s: float, as_json: bool) -> None:
    import dataclasses
    import json
    import os

    from streams.client.orders import order
    from streams.errors import ModelRejected
    from streams.settings import Settings

    status = order(Settings.from_environment(os.environ), ordered, wait_s)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(status)))
    model = f"{status.name}/{status.version}" if status.version else status.name
    if status.outcome not in _SAID:
        subject = model or ordered.action
        raise ModelRejected(f"{subject}: {status.outcome}: {status.detail}")
    if not as_json:
        said = _SAID[status.outcome]
        detail = f" {status.detail}" if status.detail.startswith("from offsets") else ""
        more = f": {status.detail}" if status.detail and not detail else ""
        say(
            f"{said} {model}{detail} (revision {status.revision}, manifest sha256 {status.digest[:16]}){more}"
        )
