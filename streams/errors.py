"""Every error this project raises on purpose, as one tree.

    AutodeepError                    the message says what the reader can do; exit_code is the process's
    ├── SettingsError                an environment variable or option is wrong                     2
    ├── DataError                    a data set or file of the user's cannot be used                2
    ├── ModelRejected                an artifact is broken, altered, or of another feature table    3
    ├── TopicsDiffer                 topics exist, but not as they were asked for                   4
    ├── AccessDenied                 Kafka or Redis refuses the user, or its certificate is refused 77
    └── Unavailable                  something on the network did not answer; trying again helps    69
        ├── BrokerUnavailable
        │   └── MessageTooLarge          a topic's limit is below a message; raising the limit helps
        ├── WindowStoreUnavailable
        └── RegistryUnavailable

Errors of libraries are translated where they enter (adapters/, codec/); none of
theirs crosses the pipeline. A bad record is no error at all but a value: `core.events.Rejected`.
"""

from __future__ import annotations


class AutodeepError(Exception):
    exit_code = 1


class SettingsError(AutodeepError):
    exit_code = 2


class DataError(AutodeepError):
    exit_code = 2


class ModelRejected(AutodeepError):
    """One line of printable text, whatever names the model's files quote to a terminal, a log or a topic."""

    exit_code = 3

    def __init__(self, says: str) -> None:
        super().__init__("".join(one if one.isprintable() else ascii(one)[1:-1] for one in says))


class TopicsDiffer(AutodeepError):
    exit_code = 4


class AccessDenied(AutodeepError):
    """Trying again does not help: a password, a certificate or a permission has to change."""

    exit_code = 77


class Unavailable(AutodeepError):
    """Transient by nature: the caller retries with back-off, or gives up with EX_UNAVAILABLE."""

    exit_code = 69


class BrokerUnavailable(Unavailable):
    pass


class MessageTooLarge(BrokerUnavailable):
    """Waited for like a broker that is away: once the topic's limit is raised, the flow goes on.

    `places` are those of the messages in the list; all others arrived.
    """

    def __init__(self, message: str, places: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.places = places


class WindowStoreUnavailable(Unavailable):
    pass


class RegistryUnavailable(Unavailable):
    pass
