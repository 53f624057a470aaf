"""Every topic name, written here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ATTACK_CLASSES: Final = ("c2", "dos", "probe", "r2l", "u2r")
NORMAL: Final = "normal"
NOVEL: Final = "novel"


def transactional_prefix(prefix: str) -> str:
    """What the transactional ids of those who decide about models begin with."""
    return f"{prefix}.models"


def profile_writer(prefix: str) -> str:
    """The transactional id of whoever changes a site's profile."""
    return f"{prefix}.profiles"


@dataclass(frozen=True, slots=True)
class Topics:
    prefix: str = "ids"

    @property
    def telemetry(self) -> str:
        return f"{self.prefix}.telemetry"

    def alerts(self, verdict: str) -> str:
        """The topic of one class of alerts; `verdict` is a class of the model, or `novel`."""
        return f"{self.prefix}.alerts.{verdict}"

    def all_alerts(self, verdicts: Iterable[str] = (*ATTACK_CLASSES, NOVEL)) -> tuple[str, ...]:
        return tuple(self.alerts(verdict) for verdict in verdicts)

    @property
    def incidents(self) -> str:
        return f"{self.prefix}.incidents"

    def output(self, form: str) -> str:
        """The topic of alerts and incidents in a format of others, such as `ocsf`."""
        return f"{self.prefix}.{form}"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

    @property
    def sensors(self) -> str:
        """Where `autodeep sensor` writes, for workers whose AUTODEEP_FLOW_TOPICS names it."""
        return f"{self.prefix}.sensors"

    @property
    def flows(self) -> str:
        """Flows by device, of whatever sensor."""
        return f"{self.prefix}.flows"

    @property
    def devices(self) -> str:
        """Which device had an address when, by leases of DHCP."""
        return f"{self.prefix}.devices"

    @property
    def profiles(self) -> str:
        """Of sites: what is known of each, by revision."""
        return f"{self.prefix}.profiles"

    @property
    def classified(self) -> str:
        return f"{self.prefix}.classified"

    @property
    def model_commands(self) -> str:
        return f"{self.prefix}.models.commands"

    @property
    def model_active(self) -> str:
        return f"{self.prefix}.models.active"

    @property
    def model_status(self) -> str:
        return f"{self.prefix}.models.status"

    @property
    def disagreements(self) -> str:
        return f"{self.prefix}.models.disagreements"

    @property
    def workers(self) -> str:
        return f"{self.prefix}.workers"
