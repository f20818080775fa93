"""Projection and diff: what two messages differ in, and what is shown of it."""

import copy
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover_app.core import limits
from cutover_app.core.canonical import canonical, reader
from cutover_app.core.compare import Masked, Show, differences
from cutover_app.core.paths import FIELDS, ITEMS, PathError, parse_path, render_path
from cutover_app.core.rules import (
    NO_RULES,
    Hole,
    Ignore,
    Lifted,
    Pattern,
    Rule,
    Rules,
    Sensitive,
    Tolerance,
    Unordered,
    build_rules,
    lift,
    project,
    put_back,
    take_holes,
)
from cutover_app.core.verdicts import Finding

read = reader()
SHOW = Show()


def rules_of(**rules: Rule) -> Rules:
    """Build rules of paths as keywords; used for paths that are one name."""
    return build_rules([((name,), rule) for name, rule in rules.items()])


def rules(*patterns: tuple[str, Rule]) -> Rules:
    """Build rules of written paths."""
    return build_rules([(parse_path(path), rule) for path, rule in patterns])


def diff(one: Any, two: Any, under: Rules = NO_RULES, show: Show = SHOW) -> list[tuple[str, str]]:
    """Return kind and path of each finding, both sides projected as stage one does."""
    return [(each.kind, each.path) for each in found(one, two, under, show)]


def found(one: Any, two: Any, under: Rules = NO_RULES, show: Show = SHOW) -> tuple[Finding, ...]:
    return differences(project(one, under), project(two, under), under, show)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ({"a": 1}, {}, [("missing_field", "$.a")]),
        ({}, {"a": 1}, [("unexpected_field", "$.a")]),
        ({"a": 1}, {"a": 2}, [("wrong_value", "$.a")]),
        ({"a": 1}, {"a": "1"}, [("wrong_type", "$.a")]),
        ({"a": 1}, {"a": None}, [("wrong_value", "$.a")]),
        ({"a": None}, {"a": {}}, [("wrong_value", "$.a")]),
        ({"a": None}, {}, [("missing_field", "$.a")]),
        ({"a": 1}, {"a": True}, [("wrong_type", "$.a")]),
        ({"a": {}}, {"a": []}, [("wrong_type", "$.a")]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("wrong_value", "$.a.b.c")]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [("wrong_value", "$.a[0]"), ("wrong_value", "$.a[1]")]),
        ({"a": [1, 2]}, {"a": [1]}, [("missing_field", "$.a[1]")]),
        ({"a": [1]}, {"a": [1, 2]}, [("unexpected_field", "$.a[1]")]),
        ({"a.b": 1}, {"a.b": 2}, [("wrong_value", '$["a.b"]')]),
        ({"a": Decimal("1.5")}, {"a": Decimal("1.6")}, [("wrong_value", "$.a")]),
    ],
)
def test_kinds_and_paths(one: Any, two: Any, expected: list[tuple[str, str]]) -> None:
    """Each way in which two messages can differ has its kind, at its path."""
    assert diff(one, two) == expected


def test_a_wrong_type_names_both() -> None:
    """A decimal and its text look alike when shown, so the finding says what they are."""
    (finding,) = found({"a": Decimal("59.8")}, {"a": "59.8"})

    assert (finding.kind, finding.expected, finding.actual) == ("wrong_type", "59.8", "59.8")
    assert finding.note == "expected number, found string"


def test_every_difference_is_found() -> None:
    """A message wrong in several places has a finding for each, in the order of paths."""
    one = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1, {"f": 4}]}
    two = {"b": {"c": "2", "x": 0}, "e": [1, {"f": 5}]}
    assert diff(one, two) == [
        ("missing_field", "$.a"),
        ("wrong_type", "$.b.c"),
        ("missing_field", "$.b.d"),
        ("unexpected_field", "$.b.x"),
        ("wrong_value", "$.e[1].f"),
    ]


def test_ignore_takes_the_path_and_all_below() -> None:
    """Ignored paths differ without a finding; their neighbours do not."""
    under = rules(("$.a", Ignore()), ("$.b.*", Ignore()), ("$.l[*].x", Ignore()))
    one = {"a": {"x": 1}, "b": {"x": 1}, "l": [{"x": 1, "y": 1}], "c": 1}
    two = {"b": {"z": 2}, "l": [{"y": 1}], "c": 2}
    assert diff(one, two, under) == [("wrong_value", "$.c")]


def test_a_name_gets_the_rules_of_a_wildcard_too() -> None:
    """A wildcard and a name that meet at one path both count."""
    under = rules(("$.*.x", Ignore()), ("$.a.y", Ignore()))
    assert diff({"a": {"x": 1, "y": 1}, "b": {"y": 1}}, {"a": {}, "b": {}}, under) == [("missing_field", "$.b.y")]


def test_projection_leaves_the_message_alone() -> None:
    """A part that occurs twice in a message may be ignored at one place and compared at another."""
    shared = [{"x": 1}]
    message = {"a": shared, "b": shared}
    under = rules(("$.a[*].x", Ignore()), ("$.b", Unordered()))
    before = copy.deepcopy(message)
    assert project(message, under) == {"a": [{}], "b": [{"x": 1}]}
    assert message == before


@pytest.mark.parametrize(
    ("tolerance", "one", "two", "fine"),
    [
        (Tolerance(abs=Decimal("0.01")), "59.80", "59.79", True),
        (Tolerance(abs=Decimal("0.01")), "59.80", "59.789", False),
        (Tolerance(rel=Decimal("0.01")), "100", "101", True),
        (Tolerance(rel=Decimal("0.01")), "100", "102", False),
        (Tolerance(rel=Decimal("0.01"), abs=Decimal(5)), "100", "105", True),
        (Tolerance(abs=Decimal("1e-20")), "1.00000000000000000001", "1", True),
        (Tolerance(abs=Decimal("1e-21")), "1.00000000000000000001", "1", False),
        (Tolerance(abs=Decimal(1)), "1", '"1"', False),
        (Tolerance(abs=Decimal(1)), "1", "true", False),
        (Tolerance(abs=Decimal(1)), "1", "null", False),
    ],
)
def test_tolerance(tolerance: Tolerance, one: str, two: str, fine: bool) -> None:
    """Numbers may be as far off as allowed, exactly; what is not a number has no tolerance."""
    under = rules_of(a=tolerance)
    left, right = read(f'{{"a":{one}}}'.encode()), read(f'{{"a":{two}}}'.encode())
    assert (not diff(left, right, under)) is fine
    assert (not diff(right, left, under)) is fine


def test_unordered_by_a_field() -> None:
    """Items are matched by what identifies them, and named by it."""
    under = rules(("$.l", Unordered((("sku",),))))
    one = {"l": [{"sku": "A", "q": 1}, {"sku": "B", "q": 2}, {"sku": "C", "q": 3}]}
    two = {"l": [{"sku": "D", "q": 4}, {"sku": "B", "q": 9}, {"sku": "A", "q": 1}]}
    assert diff(one, two, under) == [
        ("wrong_value", '$.l[sku="B"].q'),
        ("missing_field", '$.l[sku="C"]'),
        ("unexpected_field", '$.l[sku="D"]'),
    ]


def test_unordered_by_whole_value() -> None:
    """Without `by`, equal items are taken out first, and the rest compared in sorted order."""
    under = rules(("$.l", Unordered()))
    assert diff({"l": [3, 1, 2]}, {"l": [1, 2, 3]}, under) == []
    assert diff({"l": [1, 1, 2]}, {"l": [1, 2, 2]}, under) == [("wrong_value", "$.l[*]")]
    assert diff({"l": ["a", "b"]}, {"l": ["b"]}, under) == [("missing_field", "$.l[*]")]
    one, two = [{"x": 1, "y": 1}, {"x": 2, "y": 2}], [{"x": 2, "y": 2}, {"x": 1, "y": 3}]
    assert diff({"l": one}, {"l": two}, under) == [("wrong_value", "$.l[*].y")]


def test_unordered_within_unordered() -> None:
    """Lists without order nest, and other rules hold inside of them."""
    under = rules(("$.o", Unordered()), ("$.o[*].i", Unordered()), ("$.o[*].n", Ignore()))
    one = {"o": [{"i": [1, 2], "n": 1}, {"i": [3, 4], "n": 2}]}
    two = {"o": [{"i": [4, 3], "n": 3}, {"i": [2, 1]}]}
    assert diff(one, two, under) == []
    assert canonical(project(one, under)) == canonical(project(two, under))


def test_unordered_with_tolerance_finds_a_matching_if_there_is_one() -> None:
    """Items alike but for a tolerance are matched so that as many as possible are equal."""
    under = rules(("$.l", Unordered()), ("$.l[*].p", Tolerance(abs=Decimal(2))))
    one = [{"p": 0}, {"p": 3}, {"p": 4}]
    two = [{"p": 5}, {"p": 2}, {"p": 1}]
    assert diff({"l": one}, {"l": two}, under) == []
    two = [{"p": 5}, {"p": 2}, {"p": 9}]
    assert diff({"l": one}, {"l": two}, under) != []


def test_a_hole_equals_nothing() -> None:
    """A hole is one finding with its note, whatever the other side has there."""
    hole = Hole("unmapped_value", "legacy value X")
    for actual in ({"a": 1}, {"a": {"b": 2}}, {}):
        (finding,) = differences({"a": hole}, actual, NO_RULES, SHOW)
        assert (finding.kind, finding.path, finding.note) == ("unmapped_value", "$.a", hole.note)


def test_a_hole_below_something_missing_is_still_reported() -> None:
    """Where the whole object around a hole is missing, the hole is a finding of its own."""
    expected = {"a": {"b": Hole("schema_violation", "no date"), "c": 1}}
    for actual in ({}, {"a": 1}):
        kinds = {(e.kind, e.path) for e in differences(expected, actual, NO_RULES, SHOW)}
        assert ("schema_violation", "$.a.b") in kinds
        assert len(kinds) == 2


def test_beside_goes_out_and_back() -> None:
    """What is lifted out of a message and put back gives the message again."""
    under = rules(("$.a", Tolerance(abs=Decimal(1))), ("$.l[*].p", Tolerance(abs=Decimal(1))))
    hole = Hole("schema_violation", "no")
    message = {"a": 1, "l": [{"p": 2, "q": hole}, {"p": hole}, hole], "n": {"m": hole}}
    holes: list[Any] = []
    lifted: Lifted = []
    value = lift(take_holes(project(message, under), (), holes), under, (), lifted)
    assert value == {"l": [{}, {}, None], "n": {}}
    for path, each in (*lifted, *holes):
        value = put_back(value, path, each)
    assert value == message


def test_findings_are_limited_and_say_so() -> None:
    """Beyond the limit, one more finding says how many are not listed."""
    wide = {f"f{index:03}": index for index in range(limits.FINDINGS_MAX + 7)}
    findings = found(wide, {})
    assert len(findings) == limits.FINDINGS_MAX + 1
    assert findings[-1].path == "$"
    assert findings[-1].note.startswith("7 more")
    assert len(found(dict(list(wide.items())[: limits.FINDINGS_MAX]), {})) == limits.FINDINGS_MAX


def test_long_paths_are_cut() -> None:
    """A message that nests deep under long names makes no verdict that is larger than itself."""
    deep: Any = 1
    for _ in range(100):
        deep = {"n" * 100: deep}
    (finding,) = found(deep, msgspec.json.decode(msgspec.json.encode(deep).replace(b"1", b"2")))
    assert len(finding.path) == limits.PATH_CHARS_MAX + 1
    assert finding.path.startswith("$.nnn")
    assert finding.path.endswith("n…")

    levels = 7
    name = "n" * ((limits.PATH_CHARS_MAX - len("$")) // levels - len("."))
    longest: Any = 1
    for _ in range(levels):
        longest = {name: longest}
    (finding,) = found(longest, msgspec.json.decode(msgspec.json.encode(longest).replace(b"1", b"2")))
    assert len(finding.path) == limits.PATH_CHARS_MAX
    assert finding.path.endswith("n")


def test_values_as_they_are_shown() -> None:
    """Small scalars natively, long or exact ones as text, containers as compact JSON, all cut."""
    show = Show().value
    assert [show(each, masked=False) for each in ("x", True, None, 5)] == ["x", True, None, 5]
    assert show(1 << 60, masked=False) == "1152921504606846976"
    assert show(Decimal("59.8"), masked=False) == "59.8"
    assert show({"b": [1], "a": None}, masked=False) == '{"a":null,"b":[1]}'
    assert len(show("x" * 9999, masked=False)) == limits.SHOWN_CHARS_MAX


def test_masked_values_show_type_and_length_only() -> None:
    """A masked value has type and length, and with a secret an HMAC that tells equal from unequal."""
    assert Show().mask("01012345678") == Masked("string", 11)
    assert Show().mask([1, 2]) == Masked("array", 2)
    one, two = Show(b"k").mask("a"), Show(b"k").mask("b")
    assert one.hmac != two.hmac
    assert len(one.hmac) == 16
    assert one == Show(b"k").mask("a") != Show(b"other").mask("a")


CANARY = "canary-7331"


@pytest.mark.parametrize(
    ("sensitive", "one", "two"),
    [
        ("$.c.n", {"c": {"n": CANARY}}, {"c": {"n": "x"}}),
        ("$.c.n", {"c": {"n": CANARY}}, {"c": {}}),
        ("$.c.n", {"c": {"n": CANARY}}, {}),
        ("$.c.n", {"c": {"n": CANARY}}, {"c": CANARY}),
        ("$.c.n", {"c": {"n": "x"}}, {"c": [CANARY]}),
        ("$.c", {"c": {"n": {"m": CANARY}}}, {"c": {"n": {"m": 1}}}),
        ("$.c", {"c": {"n": [CANARY]}}, {"c": {"n": []}}),
        ("$.*.n", {"c": {"n": CANARY}}, {"c": {"n": CANARY + "x"}}),
        ("$.l[*].n", {"l": [{"n": CANARY}]}, {"l": [{"n": 1}]}),
        ("$.l[*].n", {"l": [{"n": CANARY}]}, {"l": {"n": CANARY}}),
        ("$.l[*].n", {"l": [{"n": "x"}]}, {"l": [CANARY]}),
        ("$.l[*].n", {"l": [{"n": CANARY, "q": 1}]}, {"l": [{"n": CANARY, "q": 2}]}),
        ("$.z", {}, {"u": CANARY}),
        ("$.z", {"l": []}, {"l": [CANARY]}),
    ],
)
def test_sensitive_values_never_show(sensitive: str, one: Any, two: Any) -> None:
    """At a sensitive path, above, below, and in unexpected fields, no value is ever shown."""
    under = rules((sensitive, Sensitive()), ("$.l", Unordered((("n",),))))
    for left, right in ((one, two), (two, one)):
        findings = found(left, right, under)
        assert findings
        if left is one or "u" not in two:
            shown = str(findings) if left is one else str([each.path for each in findings])
            assert CANARY not in shown


def test_findings_are_hashable() -> None:
    """A finding can be counted, masked values included."""
    assert len({*found({"a": 1}, {"b": 2}), *found({"a": 1}, {"b": 2})}) == 2


leaves = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "0", "a"])
leaves |= st.sampled_from([Decimal("0.5"), Decimal("1.5")])
messages = st.dictionaries(
    st.sampled_from(["a", "b", "l", "t"]),
    st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "l", "t"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)
plain_rules = st.sampled_from([Ignore(), Sensitive(), Unordered(), Unordered((("a",),))])
near = st.just(Tolerance(abs=Decimal(1)))
paths = st.lists(st.sampled_from(["a", "l", "t", FIELDS, ITEMS]), min_size=1, max_size=3).map(tuple)


def patterns(of: st.SearchStrategy[Rule]) -> st.SearchStrategy[list[Pattern]]:
    return st.lists(st.tuples(paths, of), max_size=4)


@given(messages, patterns(plain_rules | near))
def test_comparison_is_reflexive(message: Any, under: list[Pattern]) -> None:
    """No message differs from itself, under any rules."""
    assert diff(message, copy.deepcopy(message), build_rules(under)) == []


@given(messages, messages, patterns(plain_rules | near))
def test_both_sides_find_the_same_paths(one: Any, two: Any, under: list[Pattern]) -> None:
    """Swapped, the same paths are found; missing and unexpected change places, all else stays."""
    swap = {"missing_field": "unexpected_field", "unexpected_field": "missing_field"}
    there = sorted(diff(one, two, build_rules(under)))
    back = sorted((swap.get(kind, kind), path) for kind, path in diff(two, one, build_rules(under)))
    assert there == back


@given(messages, messages, patterns(plain_rules))
def test_unequal_payloads_always_differ(one: Any, two: Any, under: list[Pattern]) -> None:
    """Without tolerances, there are findings exactly when the projections are unequal."""
    built = build_rules(under)
    left, right = (canonical(project(each, built)) for each in (one, two))
    findings = differences(read(left), read(right), built, SHOW)
    assert (left == right) == (not findings)


@given(messages, messages, patterns(plain_rules | near))
def test_tolerance_explains_only_what_was_lifted(one: Any, two: Any, under: list[Pattern]) -> None:
    """With tolerances, unequal payloads differ, and equal ones only where lifted values do."""
    built = build_rules(under)
    lifted: tuple[Lifted, Lifted] = ([], [])
    projected = [project(each, built) for each in (one, two)]
    left, right = (canonical(lift(each, built, (), out)) for each, out in zip(projected, lifted, strict=True))
    findings = differences(*projected, built, SHOW)
    if left != right:
        assert findings
    elif findings:
        assert lifted[0] != lifted[1]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$", ()),
        (".", ()),
        ("a", ("a",)),
        ("$.a.b", ("a", "b")),
        ("a[0].b", ("a", 0, "b")),
        ("$[0]", (0,)),
        ("[0].a", (0, "a")),
        ("$.a[*].*", ("a", ITEMS, FIELDS)),
        ('$["a.b"].c', ("a.b", "c")),
        ("'a b'.c", ("a b", "c")),
        ('a."x[0]"', ("a", "x[0]")),
        ("$['it\\'s']", ("it's",)),
        ("고객.이름", ("고객", "이름")),
        ("a-b_c/d", ("a-b_c/d",)),
    ],
)
def test_paths_are_read(text: str, path: tuple[Any, ...]) -> None:
    """Every way to write a path gives its steps."""
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", "a..b", "a.", ".a", "a[", "a[x]", "a[0", "$a", "a b", 'a["b'])
def test_bad_paths_are_refused(text: str) -> None:
    """What is not a path is an error that names the place."""
    with pytest.raises(PathError):
        parse_path(text)


@given(st.lists(st.text(max_size=5) | st.integers(0, 99) | st.sampled_from([FIELDS, ITEMS])))
def test_rendered_paths_read_the_same(path: list[Any]) -> None:
    """A path that a finding shows can be copied into a contract."""
    assert parse_path(render_path(tuple(path))) == tuple(path)
