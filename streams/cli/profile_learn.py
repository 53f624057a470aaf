"""`autodeep profile learn`: a site's flows, judged in memory, to its profile's next revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.client.profiles import Place
    from streams.client.site_learning import Learning
    from streams.core.profile.values import Profile, Word


@dataclass(frozen=True, slots=True)
class Asked:
    site: str
    files: tuple[str, ...]
    """None: the topic of flows."""
    since: str
    home: str
    dialect: str
    model: str


def learn_site(asked: Asked, word: Word, place: Place) -> Profile:
    import os

    import torch

    from streams.adapters.store.models import open_store
    from streams.cli.output import say
    from streams.client.flow_verdicts import judge_of
    from streams.client.site_learning import Learning
    from streams.core.profile.learning import learnt
    from streams.errors import DataError
    from streams.settings import Settings

    torch.set_num_threads(1)
    settings = Settings.from_environment(os.environ)
    store = open_store(settings.model_store, settings.model_trust_key)
    detector = store.load(asked.model or settings.flow_model)
    learning = Learning(asked.site, judge_of(detector, settings))
    _read(asked, learning)
    learning.rest()
    warm_up = learning.warm_up
    if not warm_up.flows:
        raise DataError(
            f"no flow of site {asked.site} was read, {learning.foreign:,} of others: a site is what devices' "
            "names begin with, as --site or AUTODEEP_SITE had it; - is that of devices without one"
        )
    say(
        f"{warm_up.flows:,} flows of {len(warm_up.devices):,} devices, {len(warm_up.keys):,} keys"
        + (f"; {warm_up.left_out:,} flows of keys beyond those were left out" if warm_up.left_out else "")
    )
    identity = detector.identity
    model = (f"{identity.name}/{identity.version}", identity.digest)
    return place.change(asked.site, lambda now: learnt(now, warm_up, model, word.at_us, word))


def _read(asked: Asked, learning: Learning) -> None:
    from datetime import UTC, datetime

    from streams.cli.flows import chosen, settings_of
    from streams.client.alerts import starting_ms
    from streams.client.flow_sources import FlowSource
    from streams.client.flow_verdicts import Counted
    from streams.core.profile.values import UNNAMED

    site = "" if asked.site == UNNAMED else asked.site
    home, options = settings_of(asked.home, site, asked.dialect, False)
    for name in asked.files:
        learning.from_file(FlowSource(name, options), home, Counted())
    if not asked.files:
        since_ms = starting_ms(asked.since, datetime.now(UTC))
        learning.from_topic(chosen(asked.home, site, asked.dialect), since_ms)
