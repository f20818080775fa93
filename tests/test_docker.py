"""What docker/ promises, held against its files; the image's own steps are run in tests/integration/test_image.py."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover_app import __version__
from cutover_app.contract.errors import ContractError, Problem
from cutover_app.contract.load import load_contract
from cutover_app.runtime.app import STOP_SECONDS

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
STATE = "/var/lib/cutover"
PROPERTY = re.compile(r"(?P<name>[\w.>-]+) = (?P<value>.+)")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of compose.yaml, anchors resolved."""
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture(scope="module")
def mirror() -> dict[str, str]:
    """The settings of MirrorMaker 2."""
    lines = (DOCKER / "mirror.properties").read_text().splitlines()
    settings = [PROPERTY.fullmatch(line) for line in lines if line and not line.startswith("#")]
    return {each["name"]: each["value"] for each in settings if each}


def seconds(text: str) -> float:
    """A duration of compose.yaml."""
    return float(text.removesuffix("s"))


@pytest.mark.skipif(
    shutil.which("docker-compose") is None,
    reason="docker-compose is not installed (Debian: apt install docker-compose)",
)
def test_docker_compose_accepts_the_file() -> None:
    """`docker-compose config` (1.29) takes the file as it is."""
    done = subprocess.run(
        ["docker-compose", "-f", str(DOCKER / "compose.yaml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_two_clusters_a_mirror_and_a_fleet(services: dict[str, Any]) -> None:
    """A legacy cluster of 3.9, a new one of 4.1, MirrorMaker 2 and workers; every image has a version."""
    assert {"legacy", "new", "mirror", "worker", "legacy-topics", "new-topics"} == set(services)
    assert "apache/kafka:3.9.1" == services["legacy"]["image"]
    assert "apache/kafka:4.1.1" == services["new"]["image"]
    assert f"cutover:{__version__}" == services["worker"]["image"]
    assert services["legacy"]["environment"]["CLUSTER_ID"] != services["new"]["environment"]["CLUSTER_ID"]
    for name in ("legacy", "new"):
        assert f"PLAINTEXT://{name}:9092" == services[name]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_every_service_is_restrained(services: dict[str, Any]) -> None:
    """No capabilities, no new privileges; what runs for long is restarted; what others wait for has a health check."""
    for name, service in services.items():
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert service["init"], name
        once = name.endswith("-topics")
        assert ("on-failure" if once else "unless-stopped") == service["restart"], name
        for waited, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[waited], waited


def test_workers_can_be_many(services: dict[str, Any]) -> None:
    """If there are three, then nothing collides: no name, no port of the host, no state, and state alone is written."""
    worker = services["worker"]

    assert not {"container_name", "ports", "hostname"} & set(worker)
    assert worker["read_only"]
    writable = [each for each in worker["volumes"] if not each.endswith(":ro")]
    assert [STATE] == writable  # anonymous: one for each container
    assert ["/tmp"] == worker["tmpfs"]
    assert "user" not in worker  # the image's own


def test_a_worker_has_time_to_leave(services: dict[str, Any]) -> None:
    """The grace that compose gives is longer than what a worker takes at most."""
    assert seconds(services["worker"]["stop_grace_period"]) > 10 > STOP_SECONDS


def test_mounted_files_are_there(services: dict[str, Any]) -> None:
    """What compose.yaml mounts exists, and is mounted for reading alone."""
    mounted = [
        each.split(":") for service in services.values() for each in service.get("volumes", []) if each[0] == "."
    ]

    assert {"./cutover.yaml", "./mirror.properties"} == {source for source, *_ in mounted}
    for source, target, mode in mounted:
        assert (DOCKER / source).is_file()
        assert Path(target).is_absolute()
        assert "ro" == mode


def test_the_contract_belongs_to_the_clusters(services: dict[str, Any], mirror: dict[str, str]) -> None:
    """The contract names the brokers and topics that compose.yaml makes, and its copy is one that the mirror makes."""
    contract = yaml.safe_load((DOCKER / "cutover.yaml").read_text())
    made = {
        service["command"][service["command"].index("--bootstrap-server") + 1]: service["command"][
            service["command"].index("--topic") + 1
        ]
        for name, service in services.items()
        if name.endswith("-topics")
    }

    assert "kafka://new:9092" == contract["broker"]
    assert "kafka://legacy:9092" == contract["legacy"]["mirror"]["broker"]
    assert {"legacy:9092": contract["legacy"]["topic"], "new:9092": contract["rebuilt"]["topic"]} == made
    topics = mirror["legacy->new.topics"].replace("\\\\", "\\")  # as a properties file reads it
    assert re.fullmatch(topics, contract["legacy"]["topic"])
    assert not re.fullmatch(topics, contract["rebuilt"]["topic"])


def test_the_contract_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract has no mistake; a setting that this version does not support yet is the only thing refused."""
    monkeypatch.delenv("CUTOVER_BROKER", raising=False)
    refused: tuple[Problem, ...] = ()
    try:
        load_contract(DOCKER / "cutover.yaml")
    except ContractError as error:
        refused = tuple(error.problems)

    assert [] == [each for each in refused if each.setting != "legacy.mirror" or "not supported yet" not in each.text]


def test_the_mirror_goes_one_way(mirror: dict[str, str]) -> None:
    """Names are kept, nothing is written to the legacy cluster, and offsets of groups come along soon."""
    assert "true" == mirror["legacy->new.enabled"]
    assert {"new->legacy.enabled", "new->legacy.emit.heartbeats.enabled"} == {
        name for name, value in mirror.items() if value == "false"
    }
    assert mirror["replication.policy.class"].endswith(".IdentityReplicationPolicy")
    assert "target" == mirror["legacy->new.offset-syncs.topic.location"]
    assert "true" == mirror["legacy->new.sync.group.offsets.enabled"]
    assert all(int(value) <= 10 for name, value in mirror.items() if name.endswith(".interval.seconds"))


def test_the_image_is_restrained() -> None:
    """Two stages on one pinned base, not root, told by SIGTERM, started without a shell."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert ["python:${BASE_VERSION}${BASE_DIGEST}"] * 2 == bases
    assert re.search(r"^ARG BASE_VERSION=\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert "USER 10001:10001" in DOCKERFILE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
    assert f"VOLUME {STATE}" in DOCKERFILE
    for instruction in ("ENTRYPOINT", "CMD", "  CMD"):
        assert re.search(rf'^{instruction} \["', DOCKERFILE, re.MULTILINE), f"{instruction} without a shell"
    assert f'image.version="{__version__}"' in DOCKERFILE


def test_the_context_holds_what_is_copied() -> None:
    """.dockerignore lets in what the Dockerfile copies, and nothing else."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copies = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]

    assert "*" in ignored
    assert let_in == {source for sources in copies for source in sources}
    assert all((ROOT / source).exists() for source in let_in)
