"""Ready-made lines for `kcat`, with which a record can be looked at where it is."""

from shlex import quote
from typing import Final

from cutover_app.contract.models import Contract

FORMAT: Final = r"%t/%p@%o %T key=%k headers=%h\n%s\n"
"""Topic, partition, offset, timestamp, key, headers, value."""


def kcat_line(contract: Contract, topic: str, partition: int, offset: int) -> str:
    """Return the command that prints one record; a contract's secrets are never in it."""
    broker, is_secured = _cluster(contract, topic)
    line = f"kcat -C -b {quote(broker)} -t {quote(topic)} -p {partition} -o {offset} -c 1 -f {quote(FORMAT)}"
    # The comment ends the line, so that it can be pasted as it is.
    return f"{line}  # this cluster is secured: add -F FILE, or -X for each setting" if is_secured else line


def _cluster(contract: Contract, topic: str) -> tuple[str, bool]:
    legacy = contract.legacy
    if topic == legacy.topic and legacy.broker is not None:
        return _servers(legacy.broker), bool(legacy.security)
    return contract.bootstrap, bool(contract.security)


def _servers(broker: str) -> str:
    return broker.removeprefix("kafka://").replace(";kafka://", ",").replace(";", ",")
