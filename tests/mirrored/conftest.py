"""The second cluster."""

from collections.abc import Iterator

import pytest

from cutover_app.lab.cluster import QUICK_JVM, Cluster


@pytest.fixture(scope="session")
def legacy(kafka: Cluster) -> Iterator[Cluster]:
    """Return the cluster of the legacy producer; `kafka` is the work cluster."""
    with Cluster("legacy", jvm=QUICK_JVM) as cluster:
        yield cluster
