"""What can be wrong with a cluster, each said in one line."""

from collections.abc import Sequence


class KafkaUnavailable(Exception):  # noqa: N818 - a state of the cluster, as people say it
    """No broker of the cluster answers."""

    def __init__(self, servers: Sequence[str], cause: object) -> None:
        self.servers = tuple(servers)
        super().__init__(f"no Kafka broker answers at {', '.join(servers)}: {cause}")


class TopicsUnfit(Exception):  # noqa: N818
    """Topics are missing, or are not what the job needs."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class MirrorUnreadable(Exception):  # noqa: N818
    """What a mirror has copied cannot be found out."""
