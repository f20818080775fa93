"""What all tests share: one real Kafka for the whole run, started when first asked for; and that none is timed."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

from cutover_app.lab.cluster import Cluster
from cutover_app.lab.jars import LEGACY_VERSION
from cutover_app.lab.mirror import Mirror
from cutover_app.lab.topics import create_topics_now

# A machine that is busy with brokers takes any time for anything; that is no property of what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings.get_current_profile_name() == "default":  # and not that of the mutants
    settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a broker, so that `-m "not kafka"` leaves them out; and say what runs in one process.

    Tests with a broker mostly wait, so several processes run side by side. Those of a file stay together, because they
    share clusters and runs, and so do all that share MirrorMaker 2.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "kafka" in fixtures:
            item.add_marker(pytest.mark.kafka)
        if item.get_closest_marker("kafka"):
            item.add_marker(pytest.mark.xdist_group("mirror" if "mirror" in fixtures else str(item.path)))


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """Return a running broker. Tests share it, so each one uses topics of its own."""
    with Cluster("tests") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def legacy(kafka: Cluster) -> Iterator[Cluster]:
    """Return the cluster of a legacy producer, beside the shared broker."""
    with Cluster("legacy", version=LEGACY_VERSION) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mirror(kafka: Cluster, legacy: Cluster) -> Iterator[Mirror]:
    """Return a running MirrorMaker 2 from a legacy cluster (`mirror.legacy`) to the shared broker (`mirror.work`).

    Topics of all names but those that end in `.replica` are copied, a second after they were created. Tests share it:
    one that stops it starts it again.
    """
    mirror = Mirror(legacy, kafka)
    mirror.start()
    yield mirror
    mirror.kill()


@pytest.fixture(scope="session")
def _topic_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def topic(kafka: Cluster, _topic_numbers: Iterator[int]) -> Callable[..., str]:
    """Return a function that creates a topic of its own name: `topic("orders", partitions=3)`."""

    def create(name: str = "topic", *, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        unique = f"{name}-{next(_topic_numbers)}"
        create_topics_now(kafka.bootstrap, {unique: partitions}, configs=configs)
        return unique

    return create
