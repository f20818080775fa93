"""The clusters of a contract: the work cluster, and, where there is one, the cluster of the legacy producer."""

from typing import Any

from cutover_app.contract.models import Contract, Mirror
from cutover_app.kafka.settings import Broker


def is_direct(contract: Contract) -> bool:
    """Tell whether the legacy topic is read on the legacy cluster, and not on the work cluster."""
    return contract.legacy.broker is not None


def work_broker(contract: Contract, **options: Any) -> Broker:
    """Return the cluster on which the workers work and verdicts are published."""
    return Broker.parse(contract.broker, **options)


def legacy_broker(contract: Contract, **options: Any) -> Broker | None:
    """Return the cluster that the legacy producer publishes to, if that is another one and can be asked."""
    legacy = contract.legacy
    if legacy.broker is not None:
        return Broker.parse(legacy.broker, **options)
    if isinstance(legacy.mirror, Mirror):
        return Broker.parse(legacy.mirror.broker, **options)
    return None
