"""Which worker reads which partitions: Faust's sticky assignment, by what the topic has now."""

from __future__ import annotations

import logging
from typing import Any, Final

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

log: Final = logging.getLogger("autodeep")


class PresentPartitionAssignor(PartitionAssignor):  # type: ignore[misc, unused-ignore]
    """For `faust.App(PartitionAssignor=...)`. What a worker held of a topic that is shorter now is forgotten.

    Faust counts it as held: where a topic was made again with fewer partitions, it finds nobody for some
    that are there, and fails by an assertion. The group's leader then neither answers nor leaves, and no
    worker reads any more.
    """

    _present: dict[str, set[int]]

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        topics = {topic for member in member_metadata.values() for topic in member.subscription}
        self._present = {topic: set(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        try:
            return super()._perform_assignment(cluster, member_metadata)
        except Exception:
            log.exception("the partitions could not be assigned")
            raise

    def _get_client_metadata(self, metadata: Any) -> ClientMetadata:
        client: ClientMetadata = super()._get_client_metadata(metadata)
        for held in (client.assignment.actives, client.assignment.standbys):
            for topic, partitions in held.items():
                held[topic] = [place for place in partitions if place in self._present.get(topic, ())]
        return client
