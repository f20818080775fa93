"""What can be wrong with a cluster, each said in one line."""

from collections.abc import Sequence
from typing import Final

ACLS_HINT: Final = "see `cutover plan --acls`"


class KafkaUnavailable(Exception):  # noqa: N818 - a state of the cluster, as people say it
    """No broker of the cluster answers."""

    def __init__(self, servers: Sequence[str], cause: object, setting: str = "broker") -> None:
        self.servers = tuple(servers)
        self.setting = setting
        """Where a contract says where they are."""
        super().__init__(f"no Kafka broker answers at {', '.join(servers)}: {cause}")


class NoCoordinator(KafkaUnavailable):
    """Brokers answer, and none of them coordinates a consumer group."""

    def __init__(self, servers: Sequence[str], group: str, cause: str, setting: str = "broker") -> None:
        super().__init__(servers, cause, setting)
        line = (
            f"no broker at {', '.join(servers)} coordinates consumer group {group}: {cause}; groups are kept in "
            "__consumer_offsets, and it cannot be made on fewer brokers than offsets.topic.replication.factor"
        )
        self.args = (line,)


class AccessRefused(Exception):  # noqa: N818
    """A cluster does not let us in, or not do what we must; one line with the setting to change, never a secret."""


class TopicsUnfit(Exception):  # noqa: N818
    """Topics are missing, or are not what the job needs."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class MirrorUnreadable(Exception):  # noqa: N818
    """What a mirror has copied cannot be found out."""
