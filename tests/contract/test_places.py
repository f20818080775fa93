"""Paths that lead nowhere, and sealed paths that another rule looks at: refused with the line."""

import pytest

from cutover_app.contract.errors import ContractError
from cutover_app.contract.load import parse_contract
from cutover_app.contract.places import hidden_targets, made_paths, sealed_paths
from cutover_app.core.paths import parse_path, render_path
from cutover_app.core.rules import Sensitive, build_rules
from tests.contract.helpers import HEAD, contract, holes
from tests.contract.test_load import problem

MAPPING = """rebuild:
  id: no
  c.name: name
  c.phone: {from: tel, as: string}
  lines: {each: items, fields: {sku: sku, tags: {each: t, item: .}, raw: raw}}
  shipping: addr
"""
TEXT = HEAD + "match: {key: [id]}\n" + MAPPING


@pytest.mark.parametrize(
    "path",
    ["$.c", "$.c.name", "$.c.*", "$.*.name", "$.lines", "$.lines[*]", "$.lines[*].sku", "$.lines[*].tags[*]"]  # noqa: RUF005
    + ["$.lines[*].raw.any.thing", "$.shipping.street", "$.shipping.*", "$.c.name.first", "$.*", "$.shipping[*].zip"],
)
def test_paths_that_can_match(path: str) -> None:
    """What a mapping makes, objects and lists on the way, and whatever a whole value that is copied may hold."""
    contract(f"{MAPPING}sensitive: ['{path}']\n")


@pytest.mark.parametrize("path", ["$.phone", "$.c.phnoe", "$.c.phone.x", "$.lines.sku", "$.lines[*].nope", "$.c[*]"])
def test_a_path_that_leads_nowhere(path: str) -> None:
    """Under sensitive, sealed, tolerance and unordered it would be off in silence; ignore may name what is new."""
    nothing = f"nothing in rebuild makes {render_path(parse_path(path))}, so this would be off"
    assert f"cutover.yaml:13: sensitive[0]: {nothing}" in problem(f"{TEXT}sensitive: ['{path}']\n")
    assert f"cutover.yaml:13: sealed[0]: {nothing}" in problem(f"{TEXT}sealed: ['{path}']\n")
    assert f"cutover.yaml:13: compare.tolerance[0].path: {nothing}" in problem(
        f"{TEXT}compare: {{tolerance: [{{path: '{path}', abs: 1}}]}}\n"
    )
    assert f"cutover.yaml:13: compare.unordered[0].path: {nothing}" in problem(
        f"{TEXT}compare: {{unordered: [{{path: '{path}'}}]}}\n"
    )
    contract(f"{MAPPING}compare: {{ignore: [{{path: '{path}', reason: new}}]}}\n")


def test_what_tells_items_apart_must_be_made() -> None:
    """A `by` that no item has would tell none apart."""
    text = f"{TEXT}compare: {{unordered: [{{path: $.lines, by: skuu}}]}}\n"
    assert "compare.unordered[0].by: nothing in rebuild makes $.lines[*].skuu" in problem(text)


def test_a_hook_makes_what_it_wants() -> None:
    """With a Python rebuild nobody knows beforehand, so every path will do."""
    text = HEAD + 'match: {key: [id]}\nrebuild: {python: "m:f"}\nsensitive: [$.any]\nsealed: ["$.l[*].x"]\n'
    assert sealed_paths(parse_contract(text, "f", {})) == {parse_path("$.l[*].x"): "any"}


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("sealed: [$.id]\n", "sealed[0]: a part of match.key"),
        ("sealed: ['$.*']\n", "sealed[0]: a part of match.key"),
        ("sealed: ['.']\n", "sealed[0]: expected a path below the message itself"),
        ("sealed: ['$.lines[0].sku']\n", "sealed[0].path: expected [*]"),
        ("sealed: [$.c.name, $.c.name]\n", "sealed[1]: $.c.name is sealed already"),
        ("sealed: [$.c, $.c.name]\n", "sealed[1]: lies within another sealed path"),
        ("sealed: [{path: $.c.name, form: rot13}]\n", "sealed[0].form: expected 'any', 'hex' or 'block'"),
        ("sealed: [{path: $.c.name, from: hex}]\n", "sealed[0].from: unknown key; did you mean form?"),
        ("sealed: [$.c.name]\ncompare: {ignore: [{path: $.c, reason: x}]}\n", "also under compare.ignore ($.c)"),
        ("sealed: [$.c]\ncompare: {ignore: [{path: $.c.x, reason: x}]}\n", "also under compare.ignore ($.c.x)"),
        ("sealed: [$.c.name]\ncompare: {tolerance: [{path: $.c.name, abs: 1}]}\n", "also under compare.tolerance"),
        ("sealed: ['$.lines[*].sku']\ncompare: {unordered: [{path: $.lines, by: sku}]}\n", "compare.unordered.by"),
    ],
)
def test_sealed_where_it_cannot_be(rest: str, said: str) -> None:
    """A value that is encrypted cannot be paired by, looked into or sorted by: one line each."""
    assert said in problem(TEXT + rest)
    assert problem(TEXT + rest).startswith("cutover.yaml:13")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: no", "id: {from: no, sealed: any}", "cutover.yaml:8: rebuild.id.sealed: a part of match.key"),
        (
            "name: name",
            "name: {from: name, sealed: yes}",
            "cutover.yaml:9: rebuild.c.name.sealed: expected 'any', 'hex' or",
        ),
        ("name: name", "name: {const: x, sealed: any}", "with const, no use for: sealed"),
        ("name: name", "name: {concat: [{from: a, sealed: any}]}", "put `sealed` beside concat"),
        ("{each: t, item: .}", "{each: t, item: ., sealed: any}", "with each, no use for: sealed"),
    ],
)
def test_sealed_rules_that_cannot_be(old: str, new: str, said: str) -> None:
    """The same for a rule of the mapping, with its line."""
    assert said in problem(TEXT.replace(old, new))


def test_sealed_in_order_by() -> None:
    """What order is kept by has to be read, too."""
    said = problem(TEXT + "order: {by: [c.name]}\nsealed: [$.c.name]\n")
    assert "sealed[0]: a part of order.by" in said


def test_sealed_values_of_lists() -> None:
    """Fields of items, items themselves, and lists in lists; a list without order may hold them."""
    rest = TEXT.replace("item: .}", "item: {from: ., sealed: hex}}").replace(
        "sku: sku", "sku: {from: sku, sealed: any}"
    )
    made = parse_contract(rest + "compare: {unordered: [{path: $.lines}]}\n", "f", {})
    shown = {render_path(path): form for path, form in sealed_paths(made).items()}
    assert shown == {"$.lines[*].sku": "any", "$.lines[*].tags[*]": "hex"}


def test_what_a_mapping_makes() -> None:
    """Every object and list on the way is made, too."""
    made = {render_path(path) for path in made_paths(contract(MAPPING))}
    assert {"$.id", "$.c", "$.c.name", "$.lines", "$.lines[*]", "$.lines[*].tags[*]", "$.shipping"} <= made


def test_a_legacy_value_of_a_hidden_field_is_hidden_everywhere() -> None:
    """Where a hidden and an open field are made of one legacy value, the note of neither shows it."""
    rest = """rebuild:
  id: no
  c.phone: tel
  region: {from: tel, map: {"02": Seoul}}
  l: {each: items, fields: {t: $.tel, r: {from: $.tel, as: integer}, n: {from: n, as: integer}}}
sensitive: [$.c.phone]
"""
    found = holes(rest, {"no": 1, "tel": "canary", "items": [{"n": "shown"}]})
    assert len(found) == 3
    assert "canary" not in str(found)
    assert "shown" in str(found)
    rules = build_rules([(parse_path("$.c.phone"), Sensitive())])
    mapping = contract(rest).rebuild
    assert isinstance(mapping, dict)
    shown = sorted(map(render_path, hidden_targets(mapping, rules)))
    assert shown == ["$.c.phone", "$.l[*].r", "$.l[*].t", "$.region"]


@pytest.mark.parametrize(
    ("unordered", "tolerance", "refused"),
    [
        ("'$.lines'", "'$.lines[*].sku'", True),
        ("'$.c.*'", "'$.c.a[*].sku'", True),
        ("'$.c.a'", "'$.c.*[*].sku'", True),
        ("'$.c.a'", "'$.c.*'", False),
        ("'$.c.a'", "'$.c.*.sku'", False),
    ],
)
def test_what_tells_items_apart_has_no_tolerance(unordered: str, tolerance: str, refused: bool) -> None:
    """Wherever the wildcard stands; a tolerance for what is above means nothing for it."""
    text = f"""rebuild: {{id: no, c: c, lines: {{each: l, fields: {{sku: sku}}}}}}
compare:
  unordered: [{{path: {unordered}, by: sku}}]
  tolerance: [{{path: {tolerance}, abs: 1}}]
"""
    if refused:
        with pytest.raises(ContractError, match=r"a part of compare\.unordered\.by"):
            contract(text)
    else:
        contract(text)
