"""Where a site's profile is read and changed: on its topic, or in a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, Protocol

from streams.adapters.kafka.profile_topic import change_profile, read_profiles
from streams.codec.profiles import ProfileRefused, decode_profile, encode_profile
from streams.core.home import Home
from streams.core.profile.learning import next_revision
from streams.core.profile.values import UNNAMED, Decision, Profile, Word, blank
from streams.errors import DataError
from streams.settings import Settings

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a file; more is no profile."""


class Place(Protocol):
    def read(self, site: str) -> Profile | None:
        """The newest revision; None where nothing was said about the site yet."""
        ...

    def change(self, site: str, change: Callable[[Profile], Profile]) -> Profile: ...


@dataclass(frozen=True, slots=True)
class OnTopic:
    """Raises BrokerUnavailable."""

    settings: Settings

    def read(self, site: str) -> Profile | None:
        return read_profiles(self.settings).newest(site)

    def change(self, site: str, change: Callable[[Profile], Profile]) -> Profile:
        return change_profile(self.settings, site, change)


@dataclass(frozen=True, slots=True)
class InFile:
    """A file that need not be there. Raises DataError where it cannot be read or written."""

    path: Path

    def read(self, site: str) -> Profile | None:
        return read_file(self.path, site) if self.path.exists() else None

    def change(self, site: str, change: Callable[[Profile], Profile]) -> Profile:
        after = change(self.read(site) or blank(site))
        write_file(self.path, after)
        return after


def read_file(path: Path, site: str | None = None) -> Profile:
    """`site`: whose it has to be. Raises DataError (ProfileRefused where it is no profile of that site)."""
    try:
        with path.open("rb") as file:
            value = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise DataError(f"{path}: {exc.strerror or exc}") from exc
    if len(value) > MOST_BYTES:
        raise DataError(f"{path}: more than {MOST_BYTES:,} bytes, so no profile of a site")
    try:
        return decode_profile(value, site)
    except ProfileRefused as exc:
        raise ProfileRefused(f"{path}: {exc}") from exc


def read_file_for(path: Path, home: Home) -> Profile:
    """Of a site that flows may be of. Raises DataError as `read_file` does, and for any other site's."""
    profile = read_file(path)
    sites = {home.site or UNNAMED, *home.of_sensor.values(), *home.of_site}
    if profile.site not in sites:
        theirs = ", ".join(sorted(sites))
        raise ProfileRefused(
            f"{path}: this is the profile of site {profile.site}, and the flows are of {theirs}; "
            "--site names theirs"
        )
    return profile


def write_file(path: Path, profile: Profile) -> None:
    """Whole or not at all. Raises DataError."""
    temporary = None
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(encode_profile(profile) + b"\n")
        temporary.replace(path)
    except OSError as exc:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        raise DataError(f"{path}: {exc.strerror or exc}") from exc


def imported(brought: Profile, word: Word) -> Callable[[Profile], Profile]:
    """What makes a profile of a file the next revision of its site.

    Raises DataError where the site has gone on since the file was written.
    """

    def change(now: Profile) -> Profile:
        if not (word.who.strip() and word.why.strip()):
            raise DataError("import needs who decides and why: --who NAME --why TEXT")
        if brought.revision < now.revision:
            raise DataError(
                f"{now.site} is at revision {now.revision}, and the file has revision {brought.revision}: "
                f"what was decided since would be lost; export it anew"
            )
        return next_revision(brought, Decision(0, "import", (), word))

    return change
