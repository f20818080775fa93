"""The clusters of a contract: the work cluster, and, where there is one, the cluster of the legacy producer.

Whoever talks to a cluster of a contract gets its `Broker` here, credentials and all; nobody else makes one.
"""

from typing import Any, Final

from cutover_app.contract.models import Contract, Mirror
from cutover_app.contract.security import Security
from cutover_app.kafka.security import security_of
from cutover_app.kafka.settings import Broker

ASK_SECONDS: Final = 10.0
"""A question, of a command or of a sampler, waits for a broker no longer than this."""


def is_direct(contract: Contract) -> bool:
    """Tell whether the legacy topic is read on the legacy cluster, and not on the work cluster."""
    return contract.legacy.broker is not None


def work_broker(contract: Contract, **options: Any) -> Broker:
    """Return the cluster on which the workers work and verdicts are published.

    Raises `ContractError` where a file or variable of its security cannot be read.
    """
    return _broker(contract, contract.broker, contract.security, "security", options)


def legacy_broker(contract: Contract, **options: Any) -> Broker | None:
    """Return the cluster that the legacy producer publishes to, if that is another one and can be asked.

    Raises `ContractError` where a file or variable of its security cannot be read.
    """
    legacy = contract.legacy
    if legacy.broker is not None:
        return _broker(contract, legacy.broker, legacy.security, "legacy.security", options)
    if isinstance(legacy.mirror, Mirror):
        return _broker(contract, legacy.mirror.broker, legacy.mirror.security, "legacy.mirror.security", options)
    return None


def direct_broker(contract: Contract, **options: Any) -> Broker | None:
    """Return the cluster on which the legacy topic is read, if that is not the work cluster."""
    return legacy_broker(contract, **options) if is_direct(contract) else None


def _broker(
    contract: Contract, address: str, security: Security | None, setting: str, options: dict[str, Any]
) -> Broker:
    return Broker.parse(address, security=security_of(contract, security, setting), setting=setting, **options)
