"""Publishing what a turn has to say, with less in it where a topic does not take the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streams.codec.output.sizes import Shortened
from streams.core.events import Message
from streams.core.patience import Retry
from streams.errors import MessageTooLarge
from streams.pipeline.ports import Publisher

Shorter = Callable[[Message, int | None], Shortened | None]
"""A message with less in it, for a topic that takes so many bytes; None where nothing more can go."""


@dataclass(frozen=True, slots=True)
class Part:
    """Messages of one kind."""

    messages: Sequence[Message]
    shorter: Shorter


def publish(parts: Sequence[Part], publisher: Publisher, patience: Retry) -> Counter[str]:
    """Return once all are on the broker; how many messages had to go without what.

    Raises Unavailable when the patience ends. A message that is too large and of which nothing can go is
    waited for like a broker that is away: it is never left out.
    """
    messages = [message for part in parts for message in part.messages]
    without: dict[int, set[str]] = {}

    def attempt() -> None:
        while True:
            try:
                return publisher.publish(messages)
            except MessageTooLarge as exc:
                shortened = _shortened(parts, messages, exc.limits)
                if not shortened:
                    raise
            for place, less in shortened.items():
                messages[place] = less.message
                without.setdefault(place, set()).update(less.without)

    if messages:
        patience(attempt)
    return Counter(name for names in without.values() for name in names)


def _shortened(
    parts: Sequence[Part], messages: Sequence[Message], limits: Mapping[int, int | None]
) -> dict[int, Shortened]:
    """Those of the refused of which something can go, by their places."""
    shorters = [part.shorter for part in parts for _ in part.messages]
    found = {place: shorters[place](messages[place], limit) for place, limit in limits.items()}
    return {place: less for place, less in found.items() if less is not None}
