"""MITRE ATT&CK: which techniques the classes of attacks stand for, as of one version of its matrices.

A class is wider than a technique: these are the ones that its attacks are usually counted under. `novel` has
none, since an invented technique is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

FRAMEWORK: Final = "MITRE ATT&CK"
VERSION: Final = "18.1"
"""Of the Enterprise and the ICS matrix, October 2025."""


@dataclass(frozen=True, slots=True)
class Tactic:
    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Technique:
    uid: str
    name: str
    tactic: Tactic

    @property
    def url(self) -> str:
        return f"https://attack.mitre.org/techniques/{self.uid}/"


_RECONNAISSANCE: Final = Tactic("TA0043", "Reconnaissance")
_ACCESS: Final = Tactic("TA0001", "Initial Access")
_ESCALATION: Final = Tactic("TA0004", "Privilege Escalation")
_CREDENTIALS: Final = Tactic("TA0006", "Credential Access")
_DISCOVERY: Final = Tactic("TA0007", "Discovery")
_CONTROL: Final = Tactic("TA0011", "Command and Control")
_IMPACT: Final = Tactic("TA0040", "Impact")
_ICS_CONTROL: Final = Tactic("TA0101", "Command and Control")
_ICS_DISCOVERY: Final = Tactic("TA0102", "Discovery")
_ICS_INHIBIT: Final = Tactic("TA0107", "Inhibit Response Function")
_ICS_MOVEMENT: Final = Tactic("TA0109", "Lateral Movement")

TECHNIQUES: Final[Mapping[str, tuple[Technique, ...]]] = MappingProxyType(
    {
        "dos": (
            Technique("T1498", "Network Denial of Service", _IMPACT),
            Technique("T1499", "Endpoint Denial of Service", _IMPACT),
            Technique("T0814", "Denial of Service", _ICS_INHIBIT),
        ),
        "probe": (
            Technique("T1046", "Network Service Discovery", _DISCOVERY),
            Technique("T1595", "Active Scanning", _RECONNAISSANCE),
            Technique("T0846", "Remote System Discovery", _ICS_DISCOVERY),
        ),
        "r2l": (
            Technique("T1110", "Brute Force", _CREDENTIALS),
            Technique("T1078", "Valid Accounts", _ACCESS),
            Technique("T0812", "Default Credentials", _ICS_MOVEMENT),
        ),
        "u2r": (Technique("T1068", "Exploitation for Privilege Escalation", _ESCALATION),),
        "c2": (
            Technique("T1071", "Application Layer Protocol", _CONTROL),
            Technique("T1095", "Non-Application Layer Protocol", _CONTROL),
            Technique("T1571", "Non-Standard Port", _CONTROL),
            Technique("T0869", "Standard Application Layer Protocol", _ICS_CONTROL),
            Technique("T0885", "Commonly Used Port", _ICS_CONTROL),
        ),
    }
)


def techniques_of(verdict: str) -> tuple[Technique, ...]:
    """None for `novel`, and for a class that nobody has mapped."""
    return TECHNIQUES.get(verdict, ())
