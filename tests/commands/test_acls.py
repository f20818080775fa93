"""`cutover plan --acls`: the permissions of a run, for whoever gives them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cutover_app.commands.planning import plan_run
from cutover_app.contract.load import load_contract
from cutover_app.kafka.acls import acls_of
from tests.commands.helpers import Runner, write_contract

SECURITY = "security: {tls: {}, sasl: {mechanism: PLAIN, username: u, password: {env: NOT_SET_HERE}}}\n"


def test_permissions_are_printed_without_a_broker_and_without_secrets(cutover: Runner, tmp_path: Path) -> None:
    """They are asked for before anybody may connect: nothing answers at the address, and the password is not there."""
    file = write_contract(tmp_path)
    file.write_text(file.read_text() + SECURITY)
    result = cutover("plan", "--acls", "--contract", file)
    assert result.code == 0
    assert "kafka-acls --bootstrap-server 127.0.0.1:1 " in result.out
    assert {line.split()[0] for line in result.out.splitlines() if line and line[0] != "#"} == {"kafka-acls"}
    shown = cutover("plan", "--acls", "--output", "json", "--contract", file).json()["acls"]
    assert len(shown) == len(acls_of(load_contract(file, {})))


def test_a_secret_that_is_not_there(cutover: Runner, tmp_path: Path) -> None:
    """A secret that is not there is one line with the line of its setting, before anything is asked."""
    file = write_contract(tmp_path)
    file.write_text(file.read_text() + SECURITY)
    result = cutover("plan", "--contract", file)
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert line.startswith(f"cutover: {file}:{len(file.read_text().splitlines())}: security.sasl.password.env: ")
    assert "NOT_SET_HERE is not set" in line


def test_plan_warns_of_what_is_not_safe(tmp_path: Path) -> None:
    """Credentials in the clear and host names that are not verified are allowed where asked for, and said."""
    file = write_contract(tmp_path)
    text = file.read_text()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    clear = "security: {allow_plaintext: true, sasl: {mechanism: PLAIN, username: u, password: {env: P}}}\n"
    for section, said in (
        (clear, "cross the network in the clear"),
        ("security: {tls: {verify_hostname: false}}\n", "any host"),
    ):
        file.write_text(text + section)
        made = plan_run(load_contract(file, {}), "", {}, now=now, datadir="")
        assert any(said in line for line in made.warnings)


def test_plan_stops_where_the_start_lies_ahead(tmp_path: Path) -> None:
    """A start that has not come yet is a problem; one within what clocks may differ is none."""
    file = write_contract(tmp_path)
    file.write_text(file.read_text() + "start: 2099-01-01\n")
    contract, start = load_contract(file, {}), datetime(2099, 1, 1, tzinfo=UTC)
    for minutes, ahead in ((60, True), (4, False), (-60, False)):
        made = plan_run(contract, "", {}, now=start - timedelta(minutes=minutes), datadir="")
        assert any("start: 2099-01-01 has not come yet" in line for line in made.problems) == ahead
