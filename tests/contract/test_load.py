"""Contract files: what is read, and what is said of a bad one."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cutover_app.contract.errors import ContractError
from cutover_app.contract.load import load_contract, parse_contract
from cutover_app.contract.models import Contract, Mirror
from cutover_app.contract.schema import FILE, schema_text
from cutover_app.contract.yaml_file import read_yaml
from tests.contract.helpers import HEAD, MATCH, contract

REFERENCE = FILE.with_name("reference.yaml")
REBUILD = "rebuild: {id: ordId}\n"


def problem(text: str) -> str:
    """Return what is said of a contract with exactly one problem."""
    with pytest.raises(ContractError) as caught:
        parse_contract(text, "cutover.yaml", {})
    (only,) = caught.value.problems
    return str(only)


def test_defaults() -> None:
    """What is left out has the value that the reference names."""
    made = contract(REBUILD)
    assert made.run == "r1"
    assert made.timing.grace == 30_000
    assert made.timing.late_ms == 30_000
    assert made.timing.remember == 6 * 3_600_000
    assert made.timing.problems_ms == 4 * 6 * 3_600_000
    assert made.timing.edge_ms == 300_000
    assert made.timing.barrier == 1000
    assert made.intake.partitions == 12
    assert made.limits.record == 8 << 20
    assert made.verdicts.topic == "cutover.verdicts"
    assert made.bootstrap == "localhost:9092"


def test_the_environment_overrides_the_broker() -> None:
    """CUTOVER_BROKER goes before the file, also where the file has none."""
    env = {"CUTOVER_BROKER": "kafka://b1:9092;kafka://b2:9093"}
    text = (HEAD + MATCH + REBUILD).replace("broker: kafka://localhost:9092\n", "")
    assert parse_contract(text, "f", env).bootstrap == "b1:9092,b2:9093"


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    """CUTOVER_CONTRACT names the file, and its folder is known."""
    file = tmp_path / "shop.yaml"
    file.write_text(HEAD + MATCH + REBUILD, encoding="utf-8")
    assert load_contract(environ={"CUTOVER_CONTRACT": str(file)}).folder == tmp_path.resolve()


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """A contract that is not there is one clear line that says how to name one."""
    with pytest.raises(ContractError) as caught:
        load_contract(tmp_path / "no.yaml", {})
    assert str(caught.value) == (f"{tmp_path}/no.yaml: no such contract file; name one by CUTOVER_CONTRACT")


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("bogus: 1\n", "cutover.yaml:8: bogus: unknown key; expected one of broker"),
        ("sensitve: []\n", "cutover.yaml:8: sensitve: unknown key; did you mean sensitive?"),
        ("timing: {grace: 5}\n", "cutover.yaml:8: timing.grace: expected a unit"),
        ("timing: {grace: 3s}\n", "cutover.yaml:8: timing.grace: expected at least 4 times"),
        ("timing: {remember: 1s}\n", "cutover.yaml:8: timing.remember: expected at least"),
        ("limits:\n  record: 8Mb\n", "cutover.yaml:9: limits.record: expected a number and a unit"),
        ("intake: {partitions: 0}\n", "cutover.yaml:8: intake.partitions: expected greater"),
        ("limits: {record: 16MiB}\n", "cutover.yaml:8: limits.record: expected 1 byte to 15MiB: no larger message"),
        ("compare: {numbers: odd}\n", "cutover.yaml:8: compare.numbers: expected 'exact' or"),
        ("sensitive: [a..b]\n", "cutover.yaml:8: sensitive[0]: expected a field name"),
        ("sensitive: ['a[0]']\n", "cutover.yaml:8: sensitive: a[0]: expected [*]"),
        (
            "compare:\n  ignore:\n  - {path: $.x}\n",
            "cutover.yaml:10: compare.ignore[0].reason: required, and absent",
        ),
        (
            "compare:\n  tolerance:\n  - {path: $.x}\n",
            "cutover.yaml:10: compare.tolerance[0]: expected abs, rel or both",
        ),
        (
            "compare:\n  tolerance:\n  - {path: $.id, abs: 1}\n",
            "cutover.yaml:10: compare.tolerance[0].path: a part of match.key",
        ),
        (
            "compare:\n  ignore:\n  - {path: $.*, reason: all}\n",
            "cutover.yaml:10: compare.ignore[0].path: a part of match.key",
        ),
        ("internal: {min_insync: 2}\n", "cutover.yaml:8: internal.min_insync: expected at most"),
        ("run: a b\n", "cutover.yaml:8: run: expected at most 64 letters"),
        ("run: r1\nrun: r2\n", "cutover.yaml:9: run: this key occurs twice"),
        ("run: !!python/object:os.system {}\n", "cutover.yaml:8: run: expected a plain value"),
        ("run: [\n", "cutover.yaml:9: not YAML:"),
        ("timing:\n", "cutover.yaml:8: timing: expected a mapping, found null"),
        ("sensitive: a\n", "cutover.yaml:8: sensitive: expected a list, found a"),
        ("timing: {remember: 999999999999d}\n", "cutover.yaml:8: timing.remember: expected at most 3650d"),
        ("lookups:\n  a: &a {A: b}\n  b: {<<: *a}\n", "cutover.yaml:10: lookups.b: `<<` merges nothing here"),
        ('lookups: {a: {A: "\\ud800"}}\n', "cutover.yaml:8: lookups.a.A: half of a surrogate pair"),
        ('lookups: {a: {"\\ud800": b}}\n', "cutover.yaml:8: lookups.a: half of a surrogate pair"),
        ("verdicts: {topic: orders.v2}\n", "cutover.yaml:8: verdicts.topic: a topic that is verified"),
        ("verdicts: {topic: shop.orders}\n", "cutover.yaml:8: verdicts.topic: a topic that is verified"),
        (
            "compare: {ignore: [{path: x, reason: y, until: 2027-02-31}]}\n",
            "cutover.yaml:8: compare.ignore[0].until: expected a day that exists",
        ),
    ],
)
def test_errors_have_line_setting_and_what_was_expected(rest: str, said: str) -> None:
    """Each mistake is one line: file, line, setting, what was expected, what was found."""
    assert problem(HEAD + MATCH + REBUILD + rest).startswith(said)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("id: a..b", "cutover.yaml:8: rebuild.id.from: expected a field name"),
        ("id: 'a[*]'", "cutover.yaml:8: rebuild.id.from: expected a path to one value"),
        ("id: {from: a, const: 1}", "cutover.yaml:8: rebuild.id: expected exactly one of from"),
        ("id: {map: {a: b}}", "cutover.yaml:8: rebuild.id: expected exactly one of from"),
        ("id: {from: a, mapp: {a: b}}", "cutover.yaml:8: rebuild.id.mapp: unknown key; did you"),
        ("id: {from: a, as: int}", "cutover.yaml:8: rebuild.id.as: expected 'string', 'integer'"),
        ("id: {from: a, zone: UTC}", "cutover.yaml:8: rebuild.id: zone need `as:` one of"),
        (
            "id: {from: a, as: datetime, zone: Asia/Soul}",
            "cutover.yaml:8: rebuild.id.zone: no such time zone: 'Asia/Soul'",
        ),
        (
            "id: {from: a, as: datetime, format: '%Y%m%d'}",
            "cutover.yaml:8: rebuild.id: expected zone: the format has no offset",
        ),
        (
            "id: {from: a, as: datetime, format: '%Q', zone: UTC}",
            "cutover.yaml:8: rebuild.id: format: '%Q' is not understood",
        ),
        ("id: {each: a}", "cutover.yaml:8: rebuild.id: `each` needs one of fields, item"),
        ("id: {from: a, lookup: no}", "cutover.yaml:8: rebuild.id.lookup: no table 'no'"),
        (
            "'id': x\n  '\"id\"': y",
            'cutover.yaml:9: rebuild."id": the same target as id',
        ),
        (
            "id: x\n  c: y\n  c.name: z",
            "cutover.yaml:10: rebuild.c.name: lies within the target $.c",
        ),
        (
            "id: x\n  l: {each: a, fields: {\n    b: x,\n    b.c: y}}",
            "cutover.yaml:11: rebuild.l.fields.b.c: lies within the target $.b",
        ),
        ("id: x\n  'a[0]': y", "cutover.yaml:9: rebuild.a[0]: a target is made of field names"),
        ("other: x", "cutover.yaml:6: match.key: nothing in rebuild makes $.id"),
        ("id: x\norder: {by: [other]}", "cutover.yaml:9: order.by: nothing in rebuild makes $.other"),
        ("python: nonsense", "cutover.yaml:8: rebuild.python: expected module:function, found nonsense"),
    ],
)
def test_bad_rebuild_rules(rules: str, said: str) -> None:
    """A rule that cannot be meant is refused when the contract is read, at its line."""
    assert problem(HEAD + MATCH + "rebuild:\n  " + rules + "\n").startswith(said)


@pytest.mark.parametrize(
    "rest",
    [
        "verdicts: {format: avro}\n",
        "#\nlegacy2: {}\n",
    ],
)
def test_settings_of_later_work_are_refused(rest: str) -> None:
    """A setting that is not honoured yet is said to be so; nobody is left to believe in it."""
    said = problem(HEAD + MATCH + REBUILD + rest)
    assert "not supported yet" in said or "unknown key" in said


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("{topic: orders.v2}", "{topic: t, format: avro}", "rebuilt.format"),
        ("{key: [id]}", "{key: [id], kafka_key: true}", "match.kafka_key"),
    ],
)
def test_later_settings_in_place(old: str, new: str, place: str) -> None:
    """The same inside of other settings, with the place."""
    said = problem((HEAD + MATCH + REBUILD).replace(old, new))
    assert f"{place}: not supported yet" in said


def test_several_problems_are_listed_at_once() -> None:
    """One run shows all that is wrong, in the order of the file."""
    text = HEAD + MATCH + "rebuild: {id: {}}\ntiming: {grace: x}\nbogus: 1\n"
    with pytest.raises(ContractError) as caught:
        parse_contract(text, "f", {})
    assert [each.line for each in caught.value.problems] == [7, 8, 9]


@pytest.mark.parametrize(
    "broker", ["kafka://b:x", "kafka://b:99999", "kafka://b:0", "kafka://a:1;b:1:2", "kafka://a b"]
)
def test_an_address_that_cannot_be_one(broker: str) -> None:
    """A bad port is found when the contract is read, wherever the address comes from."""
    text = HEAD + MATCH + REBUILD
    assert "cutover.yaml:3: broker: expected kafka://host:port" in problem(
        text.replace("kafka://localhost:9092", broker)
    )
    with pytest.raises(ContractError) as caught:
        parse_contract(text, "cutover.yaml", {"CUTOVER_BROKER": broker})
    assert str(caught.value).startswith("CUTOVER_BROKER: expected kafka://host:port")


@pytest.mark.parametrize(
    "broker", ["kafka://a", "kafka://a:1;kafka://b.c-d_e:65535", "kafka://[::1]:9092", "kafka://a,b:2"]
)
def test_addresses_of_every_form(broker: str) -> None:
    """Several brokers, no port, and addresses of IPv6 will do."""
    assert contract(REBUILD, head=(HEAD + MATCH).replace("kafka://localhost:9092", f'"{broker}"')).broker == broker


def test_few_lines_that_mean_billions() -> None:
    """Aliases of aliases and deep nesting are refused before they take the memory."""
    aliases = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True):
        aliases += f"{two}: &{two} [{', '.join(['*' + one] * 10)}]\n"
    assert "more than 1,000,000 values" in problem(aliases)
    assert "nested too deep" in problem("a: " + "[" * 5000 + "]" * 5000)


def test_a_password_in_the_broker_is_not_repeated() -> None:
    """Credentials do not belong into the address, and an error does not show them."""
    text = (HEAD + MATCH + REBUILD).replace("localhost", "user:hunter2@localhost")
    said = problem(text)
    assert "broker: expected kafka://host:port" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n", "just text\n", "a: &x [*x]\n"])
def test_files_that_are_no_settings(text: str) -> None:
    """An empty file, a list, a text and an anchor within itself are each refused."""
    with pytest.raises(ContractError):
        parse_contract(text, "f", {})


def test_plain_scalars_are_not_guessed() -> None:
    """Texts that YAML 1.1 takes for booleans, times, octals or dates stay texts."""
    text = "[no, on, Y, 12:30, 0123, 2027-01-31, 1_000, true, 12, 1.50, ~, '5', .5]"
    assert read_yaml(text, "f").value == [
        *("no", "on", "Y", "12:30", "0123", "2027-01-31", "1_000"),
        *(True, 12, 1.5, None, "5", ".5"),
    ]


def test_reference_loads_and_names_every_setting() -> None:
    """The annotated reference is a valid contract in which every setting occurs."""
    text = REFERENCE.read_text(encoding="utf-8")
    assert load_contract(REFERENCE, {}).contract == "orders"

    def settings(schema: dict[str, object]) -> set[str]:
        found = set(schema.get("properties", {}))  # type: ignore[call-overload]
        return found.union(*map(settings, schema.get("$defs", {}).values()))  # type: ignore[attr-defined]

    names = settings(json.loads(schema_text()))
    tests = {"in", "equals", "not_equals", "all"}
    missing = {name for name in names - tests if f"{name}:" not in text}
    assert missing == set()


def test_reference_shows_defaults() -> None:
    """Where the reference shows a setting that has a default, the default is what it shows."""
    shown = load_contract(REFERENCE, {})
    plain = contract(REBUILD)
    for name in ("intake", "internal", "limits", "run", "start"):
        assert getattr(shown, name) == getattr(plain, name)
    assert shown.verdicts == plain.verdicts
    for name in ("grace", "late_ms", "remember", "problems_ms", "edge_ms", "barrier"):
        assert getattr(shown.timing, name) == getattr(plain.timing, name)


def test_schema_is_up_to_date_and_accepts_the_reference() -> None:
    """The schema for editors is the one that the models give, and it knows good from bad."""
    assert FILE.read_text(encoding="utf-8") == schema_text()
    schema = json.loads(schema_text())
    data = yaml.load(REFERENCE.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    data["compare"]["tolerance"] = []
    lenient = ("integer", "boolean", "number")
    validator = jsonschema.Draft202012Validator(schema)
    bad = [
        error.message
        for error in validator.iter_errors(data)
        if not (error.validator == "type" and error.validator_value in lenient)
    ]
    assert [each for each in bad if "is not valid under any" not in each] == []
    assert not validator.is_valid({**data, "bogus": 1})


def test_the_model_is_immutable() -> None:
    """A contract cannot change while it is in use."""
    made = contract(REBUILD)
    assert isinstance(made, Contract)
    with pytest.raises(ValueError, match="frozen"):
        made.run = "r2"  # type: ignore[misc]


def test_the_legacy_topic_has_one_way_to_here() -> None:
    """Mirrored or read directly: with both, nobody would know which records are meant."""
    both = 'legacy: {topic: t, broker: "kafka://b", mirror: trusted}'
    said = problem((HEAD + MATCH + REBUILD).replace("legacy: {topic: shop.orders}", both))

    assert "legacy.mirror: expected either a mirror, or the broker" in said


def test_a_mirror_has_defaults() -> None:
    """Its topic has the name of the copy, its positions are looked for, and it copies what was aborted."""
    text = (HEAD + MATCH + REBUILD).replace("{topic: shop.orders}", '{topic: t, mirror: {broker: "kafka://l:9092"}}')
    mirror = parse_contract(text, "cutover.yaml", {}).legacy.mirror

    assert isinstance(mirror, Mirror)
    assert (mirror.topic, mirror.offsets, mirror.isolation) == (None, None, "read_uncommitted")


@pytest.mark.parametrize(
    ("more", "overridden"),
    [
        ("mirror: {broker: kafka://file}", {"mirror": {"broker": "kafka://env:1"}}),
        ("mirror: {topic: orders}", {"mirror": {"topic": "orders", "broker": "kafka://env:1"}}),
        ("broker: kafka://file", {"broker": "kafka://env:1"}),
        ("mirror: trusted", {"mirror": "trusted"}),
    ],
)
def test_the_environment_overrides_the_legacy_broker(more: str, overridden: dict[str, Any]) -> None:
    """CUTOVER_LEGACY_BROKER goes before the address of the contract, which must have a place for one."""
    from cutover_app.contract.load import _override  # noqa: PLC0415 - private on purpose

    settings = {"legacy": {"topic": "t", **yaml.safe_load("{" + more + "}")}}

    made, _ = _override(settings, {"CUTOVER_LEGACY_BROKER": "kafka://env:1"})

    assert made == {"legacy": {"topic": "t", **overridden}}


def test_a_bad_address_of_the_environment_names_its_variable() -> None:
    """If CUTOVER_LEGACY_BROKER is no address, then the error names it, and not a line of the file."""
    text = (HEAD + MATCH + REBUILD).replace("{topic: shop.orders}", "{topic: shop.orders, broker: kafka://a}")

    with pytest.raises(ContractError) as caught:
        parse_contract(text, "cutover.yaml", {"CUTOVER_LEGACY_BROKER": "there:nowhere"})

    assert str(caught.value).startswith("CUTOVER_LEGACY_BROKER: expected kafka://host:port")
