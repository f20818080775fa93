"""The program `cutover` and its commands, seen from a shell."""

import asyncio
import subprocess
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
from faust.cli.base import cli as faust_cli

from cutover_app import __main__ as program
from cutover_app.commands import COMMANDS
from cutover_app.commands.base import guarded
from cutover_app.commands.cli import main
from cutover_app.kafka.cluster import Cluster
from cutover_app.kafka.errors import NoCoordinator
from cutover_app.kafka.settings import Broker
from tests.commands.helpers import Runner, legacy, rebuilt, write_contract, write_lines

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Python's in the project's root."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ours_stand_beside_fausts() -> None:
    """Faust's command line has our commands and its own; `reset` is ours."""
    assert {"worker", "agents", "tables"} < set(faust_cli.commands)
    for command in COMMANDS:
        assert (command.__doc__ or "").splitlines()[0] == faust_cli.commands[command.__name__].help.splitlines()[0]


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_terminal_without_unicode_is_no_reason_to_stop(tmp_path: Path, form: str) -> None:
    """Where the encoding of standard output lacks a character, tables escape it and JSON is UTF-8 all the same."""
    contract = write_contract(tmp_path)
    expected = write_lines(tmp_path / "legacy", legacy(1, id="é日"))
    actual = write_lines(tmp_path / "rebuilt", rebuilt(1, order_id="é日", total=1))
    files = ["--contract", str(contract), "--legacy", str(expected), "--rebuilt", str(actual)]
    result = run("-m", "cutover_app", "check", *files, "--output", form, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (1, "")
    assert ("é日" if form == "json" else "\\xe9\\u65e5") in result.stdout


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_help_needs_nothing(cutover: Runner, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The help of each of our commands works without a contract and names the exit codes."""
    monkeypatch.chdir(tmp_path)
    result = cutover(command, "--help")
    assert result.code == 0
    assert "Exit code: 0" in result.out


def test_help_and_version_name_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cutover: Runner
) -> None:
    """--help says what this is for, --version which Faust is in it."""
    assert "Prove, on live traffic" in cutover("--help").out
    monkeypatch.setattr(sys, "argv", ["cutover", "--version"])
    main()
    assert "Faust 0.15.3" in capsys.readouterr().out


def test_what_would_do_harm_is_not_there() -> None:
    """Faust's `send` would write into any topic, sources included."""
    assert not {"send", "livecheck", "completion", "model"} & set(faust_cli.commands)


class _Interrupted(MetaPathFinder):
    """Somebody presses Ctrl-C while the program is being loaded."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Be interrupted."""
        raise KeyboardInterrupt(fullname, path, target)


def test_an_interruption_while_the_program_is_loaded_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, as shells have it, and no traceback."""
    monkeypatch.delitem(sys.modules, "cutover_app.commands.cli")
    monkeypatch.setattr(sys, "meta_path", [_Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as exit_:
        program.main()
    assert exit_.value.code == 130


def test_an_interruption_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What click would call aborted, exit 1, is exit 130."""
    monkeypatch.setattr(sys, "argv", ["cutover", "report"])
    monkeypatch.setattr(faust_cli, "invoke", _Interrupted().find_spec)
    with pytest.raises(SystemExit) as exit_:
        program.main()
    assert exit_.value.code == 130


def test_a_missing_contract_is_one_line_and_exit_2() -> None:
    """Whether through `faust -A cutover_app` or through `cutover`: one line on standard error, exit 2."""
    named = "import sys; sys.argv[0] = 'cutover'; from cutover_app.__main__ import main; main()"
    for arguments in (
        ("-m", "faust", "-A", "cutover_app", "tables"),
        ("-c", named, "tables"),
        ("-c", named, "plan"),
    ):
        result = run(*arguments, CUTOVER_CONTRACT="absent.yaml")
        assert result.returncode == 2, result.stderr
        [line] = result.stderr.splitlines()
        assert "absent.yaml: no such contract file" in line


BROKER_COMMANDS = ["plan", "report", "reset", "status", "rows books", "explain o1", "fixed", "fixed missing"]


@pytest.mark.parametrize("command", BROKER_COMMANDS)
def test_a_broker_that_is_not_there_is_one_line_and_exit_4(cutover: Runner, command: str, tmp_path: Path) -> None:
    """No broker: one line that names it and the setting, exit 4, no traceback."""
    result = cutover(*command.split(), "--contract", write_contract(tmp_path))
    assert result.code == 4
    [line] = result.err.splitlines()
    assert "no Kafka broker answers at 127.0.0.1:1" in line
    assert "CUTOVER_BROKER" in line


@pytest.mark.parametrize("setting", ["broker", "legacy.broker", "legacy.mirror.broker"])
def test_the_setting_of_the_cluster_that_is_not_there_is_named(
    setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever cluster does not answer: the line names its own setting, and the variable that overrides that."""
    section = setting.removesuffix("broker")
    broker = Broker.parse("kafka://127.0.0.1:1", setting=f"{section}security", request_timeout=1.0)

    async def connect() -> int:
        async with Cluster(broker):
            return 0

    with pytest.raises(SystemExit) as ended:
        guarded(lambda: asyncio.run(connect()))

    variable = "CUTOVER_LEGACY_BROKER" if section else "CUTOVER_BROKER"
    assert ended.value.code == 4
    assert capsys.readouterr().err.endswith(f"answers at 127.0.0.1:1: see `{setting}` in the contract, or {variable}\n")


def test_a_group_that_nobody_coordinates_is_told_from_a_broker_that_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    """Brokers answer: the line says which group, and what to look at."""

    def ask() -> int:
        raise NoCoordinator(["b:9092"], "cutover-orders-r1", "none found for 30 s")

    with pytest.raises(SystemExit) as ended:
        guarded(ask)

    line = capsys.readouterr().err
    assert ended.value.code == 4
    assert "no broker at b:9092 coordinates consumer group cutover-orders-r1" in line
    assert "answers" not in line


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("rows nothing", "no table 'nothing'; there are pending, settled, books, families"),
        ("rows families --key o1", "--key is for settled and pending"),
        ("rows settled --order o1", "--order says where the key of --key is"),
        ("rows settled --partition 1", "--partition: expected 0 to 0"),
        ("rows settled --key {}", "KEY: expected texts, numbers, true or false, found an object"),
        ("rows settled --key [1,2]", "KEY: expected one value (order_id), found a list of 2"),
        ("explain [", "KEY: '[' is neither JSON nor a plain word"),
        ("explain --verdict x", "--verdict: expected 32 hexadecimal digits, found 'x'"),
        ("fixed missing --from yesterday", "--from: expected a time with its zone"),
        ("fixed missing --undo --reason x", "--undo takes a mark back"),
        ("fixed --undo", "expected a FAMILY"),
        ("status --watch nan", "--watch: expected seconds, found nan"),
    ],
)
def test_what_was_mistyped_is_one_line_and_exit_2(cutover: Runner, command: str, line: str, tmp_path: Path) -> None:
    """What was expected and what was found, on standard error, before any broker is asked."""
    result = cutover(*command.split(), "--contract", write_contract(tmp_path))
    assert (result.code, result.out) == (2, "")
    [said] = result.err.splitlines()
    assert said.startswith(f"cutover: {line}")


def test_an_application_that_is_not_there_is_one_line() -> None:
    """Exit code 1 would mean that problems were found."""
    for words in (["-A", "nosuch", "report"], ["--app=nosuch", "tables"]):
        result = run("-m", "cutover_app", *words)
        assert (result.returncode, result.stderr) == (2, "cutover: -A: No module named 'nosuch'\n")


def test_faust_knows_the_commands_too(tmp_path: Path) -> None:
    """`faust -A cutover_app X` and `cutover X` say the same, and end with the same code."""
    contract = str(write_contract(tmp_path))
    for command in (["status"], ["explain", "o1"]):
        faust, ours = (
            run("-m", *program, *command, CUTOVER_CONTRACT=contract, CUTOVER_DATADIR=str(tmp_path / "data"))
            for program in (["faust", "-A", "cutover_app"], ["cutover_app"])
        )
        assert (faust.returncode, faust.stdout, faust.stderr) == (ours.returncode, ours.stdout, ours.stderr)
        assert ours.returncode == 4
        assert "no Kafka broker answers" in ours.stderr


def test_words_like_fausts_options_are_ours(cutover: Runner, tmp_path: Path) -> None:
    """`--apply`, which begins like Faust's `--app`, is taken for what it is."""
    result = cutover("plan", "--apply", "--contract", write_contract(tmp_path))
    assert result.code == 4
