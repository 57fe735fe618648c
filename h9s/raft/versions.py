"""What versions of h9s in one cluster agree upon, so that they can be exchanged one replica at a time.

Every version has a feature level. A leader writes what the version before does not understand only
once every member has said that it does; the log then records that level, and from there on replicas of
an older version are refused: they would pass over what they do not know. Must do no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

#: Of this version. 1: the first. 2: members that change, and who wrote a revision.
FEATURE_LEVEL = 2
#: From here on revisions say who wrote them, and old ones are in archives instead of in memory.
AUTHORS_LEVEL = 2


class PeerHello(NamedTuple):
    """What a replica says of itself when it connects."""

    feature_level: int = FEATURE_LEVEL
    #: Where it is reached now ("host:port"); empty where it does not say.
    api_address: str = ""
    peer_address: str = ""
    #: Which life of its disk this is; see `raft.configuration`.
    incarnation: int = 0


class FeatureLevels:
    """The levels of one replica and of those that it has heard from in this process's life.

    `agreed` is the level that the applied log records, at least 1.
    """

    def __init__(self, *, replica_id: str, agreed: Callable[[], int]) -> None:
        self._agreed = agreed
        self._heard = {replica_id: FEATURE_LEVEL}

    def heard(self, name: str, level: int) -> None:
        """The replica `name` runs this level now."""
        self._heard[name] = level

    def common(self, members: Iterable[str]) -> int:
        """What every member understands: who was never heard from may be of the first version, unless
        the log says that all have been upgraded."""
        return max(self._agreed(), min((self._heard.get(name, 1) for name in members), default=1))

    def objection(self, name: str, level: int) -> str:
        """Why a replica of this level cannot take part any more; empty if it can."""
        agreed = self._agreed()
        if level >= agreed:
            return ""
        return (
            f"{name} runs an older version (feature level {level}) than the cluster was upgraded to "
            f"(feature level {agreed}): start it with the newer one"
        )
