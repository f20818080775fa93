"""Where a mirror stands in the topic that it copies, as Kafka Connect keeps it.

MirrorMaker 2 is a Connect source connector, and Connect writes a connector's positions to a compacted topic, each when
everything up to it has been acknowledged by the cluster that is copied to. A record's key is JSON
`["MirrorSourceConnector", {"cluster": "legacy", "partition": 0, "topic": "shop.orders"}]` (the first item is the
connector's name, which is free on a plain Connect cluster), its value `{"offset": N}`: N is the last record copied. A
null value takes the position back. The topic is shared: with other topics, connectors and kinds of connectors.

The newest record counts, not the highest: after the legacy topic was made anew, positions begin again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

_MIRROR_FIELDS: Final = {"cluster", "partition", "topic"}
"""What MirrorMaker 2's source connector calls its source; checkpoints and heartbeats have other fields."""

_decode = msgspec.json.decode


@dataclass(frozen=True, slots=True, order=True)
class Copier:
    """Who copies: a connector, and its name for the cluster that it copies from."""

    connector: str
    cluster: str


class AmbiguousMirror(Exception):  # noqa: N818 - a state, as people say it
    """Several mirrors have positions in a topic of that name."""

    def __init__(self, told: list[tuple[str, Copier]]) -> None:
        self.told = told
        names = "; ".join(f"{each.connector} of cluster {each.cluster} in {topic}" for topic, each in told)
        super().__init__(f"several mirrors copy a topic of that name: {names}")


class Positions:
    """The positions of one topic's copiers, from the records of one offsets topic, in order per partition of it."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.undecodable = 0
        """Records that nobody could read; skipped, as MirrorMaker 2 itself does."""
        self._found: dict[Copier, dict[int, int]] = {}

    def __repr__(self) -> str:
        """Return what is known."""
        return f"<Positions of {self.topic}: {self._found}>"

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the offsets topic; one about anything else is passed over."""
        try:
            named = _decode(key or b"")
            told = None if value is None else _decode(value)
        except msgspec.DecodeError:
            self.undecodable += 1
            return
        if not _is_mirror(named) or named[1]["topic"] != self.topic:
            return
        partition, copier = named[1]["partition"], Copier(named[0], str(named[1]["cluster"]))
        offset = told.get("offset") if isinstance(told, dict) else None
        if told is None:
            self._found.get(copier, {}).pop(partition, None)
        elif _is_number(partition) and isinstance(offset, int) and _is_number(offset):
            self._found.setdefault(copier, {})[partition] = offset + 1
        else:
            self.undecodable += 1

    @property
    def copiers(self) -> list[Copier]:
        """Whoever has a position in this topic; more than one, and nobody can say whose copy is read."""
        return sorted(copier for copier, found in self._found.items() if found)

    def of(self, copier: Copier) -> dict[int, int]:
        """Return the offset that it copies next, by partition; everything below is in the copy."""
        return dict(self._found.get(copier, {}))


def choose(found: Mapping[str, Positions], copy: str) -> tuple[str, Copier] | None:
    """Return who makes the copy, and the offsets topic that says so; None where nobody has told a position yet.

    `found` are the positions of one topic by offsets topic. Where several mirrors copy a topic of that name, the one
    counts after whose name for its cluster the copy is called (`legacy.shop.orders`). Raises `AmbiguousMirror`.
    """
    told = [(topic, copier) for topic, each in sorted(found.items()) for copier in each.copiers]
    names = {each.topic for each in found.values()}
    named = [one for one in told if _named_after(copy, one[1].cluster, names)]
    if named:  # of eu and eu2, eu2.orders is called after the longer
        longest = max(len(one[1].cluster) for one in named)
        named = [one for one in named if len(one[1].cluster) == longest]
    told = named or told
    if len(told) > 1:
        raise AmbiguousMirror(told)
    return told[0] if told else None


def _named_after(copy: str, cluster: str, names: Collection[str]) -> bool:
    """Tell whether a copy has the cluster's name, a separator, and the topic's name."""
    return any(copy.startswith(cluster) and copy.endswith(name) and copy != name for name in names)


def _is_mirror(named: Any) -> bool:
    if not isinstance(named, list) or len(named) != 2 or not isinstance(named[0], str):
        return False
    return isinstance(named[1], dict) and set(named[1]) == _MIRROR_FIELDS


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
