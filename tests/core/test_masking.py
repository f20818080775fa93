"""What a comparison shows, and what it must not: masked values, names, selectors, what is exposed; and who is matched.

Values at sensitive paths are masked for where they stand and, anywhere, for what they say. A flag says nothing that
could be recognised elsewhere, so flags show whether the place alone is enough.
"""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cutover_app.core import limits
from cutover_app.core.compare import (
    HIDDEN_NOTE,
    MATCHED_MAX,
    NOTED_CHARS,
    Exposed,
    Masked,
    Show,
    all_differences,
    differences,
)
from cutover_app.core.paths import parse_path
from cutover_app.core.rules import NO_RULES, Hole, Rule, Rules, Sealed, Sensitive, Tolerance, Unordered, build_rules
from cutover_app.core.verdicts import Finding

SHOW = Show()
FLAG = Masked("boolean", 4)
"""What is shown of a masked `true`."""
NO_FLAG = Masked("boolean", 5)


def rules(*patterns: tuple[str, Rule]) -> Rules:
    """Build rules of written paths."""
    return build_rules([(parse_path(path), rule) for path, rule in patterns])


def found(one: Any, two: Any, *patterns: tuple[str, Rule]) -> tuple[Finding, ...]:
    """Compare two messages as they are."""
    return differences(one, two, rules(*patterns), SHOW)


def exposed(one: Any, two: Any, under: Rules = NO_RULES) -> Exposed:
    """Return what of the second is not as expected."""
    parts: Exposed = []
    all_differences(one, two, under, SHOW, parts)
    return parts


# -- single values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 << 53, 1 << 53),
        (-(1 << 53), -(1 << 53)),
        ((1 << 53) + 1, "9007199254740993"),
        (-(1 << 53) - 1, "-9007199254740993"),
        ("x" * limits.SHOWN_CHARS_MAX, "x" * limits.SHOWN_CHARS_MAX),
        ("x" * (limits.SHOWN_CHARS_MAX + 1), "x" * (limits.SHOWN_CHARS_MAX - 1) + "…"),
    ],
)
def test_what_readers_could_not_keep_is_shown_as_text(value: Any, shown: Any) -> None:
    """Integers beyond 2^53 lose digits in other readers; texts are cut behind what a verdict may hold."""
    assert SHOW.value(value, masked=False) == shown


def test_a_masked_value_is_its_type_and_length() -> None:
    """Without a secret there is no HMAC, and no field for it."""
    assert SHOW.value("secret", masked=True) == Masked("string", 6)
    assert msgspec.json.encode(SHOW.value("secret", masked=True)) == b'{"masked":"string","len":6}'


# -- by where a value stands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "path", "expected"),
    [
        ({"a": True}, {"a": False}, "$.a", Finding("wrong_value", "$.a", FLAG, NO_FLAG)),
        ({"a": {"b": True}}, {"a": {"b": False}}, "$.a", Finding("wrong_value", "$.a.*", FLAG, NO_FLAG)),
        ({"a": {"b": {"c": True}}}, {"a": {"b": {}}}, "$.a", Finding("missing_field", "$.a.*.*", FLAG)),
        ({"a": True}, {}, "$.a", Finding("missing_field", "$.a", FLAG)),
        ({"a": {"b": True}}, {}, "$.a.b", Finding("missing_field", "$.a", Masked("object", 1))),
        (
            {"a": {"b": True}},
            {"a": True},
            "$.a.b",
            Finding("wrong_type", "$.a", Masked("object", 1), FLAG, note="expected object, found boolean"),
        ),
        (
            {"a": Hole("k", "n")},
            {"a": True},
            "$.a",
            Finding("k", "$.a", actual=FLAG, note="n"),
        ),
        (
            {"a": Hole("k", "n")},
            {"a": True},
            "$.a.b",
            Finding("k", "$.a", actual=FLAG, note="n"),
        ),
        (
            {"a": {"b": Hole("k", "n")}},
            {"a": {"b": True}},
            "$.a",
            Finding("k", "$.a.*", actual=FLAG, note="n"),
        ),
    ],
)
def test_a_flag_at_a_sensitive_place_is_masked(one: Any, two: Any, path: str, expected: Finding) -> None:
    """At the path, below it, and above it, on either side, in each kind of finding."""
    assert found(one, two, (path, Sensitive())) == (expected,)


def test_a_flag_elsewhere_is_shown() -> None:
    """Nothing is masked without a reason."""
    assert found({"a": True, "s": 1}, {"a": False, "s": 1}, ("$.s", Sensitive())) == (
        Finding("wrong_value", "$.a", True, False),
    )
    assert found({"a": Hole("k", "n")}, {"a": True}) == (Finding("k", "$.a", actual=True, note="n"),)
    assert found({"a": True}, {}) == (Finding("missing_field", "$.a", True),)


def test_an_object_where_none_belongs_is_masked() -> None:
    """Nobody expected what is in it, so it may hold anything; what was expected there is shown."""
    for two, shown in (({"x": True}, Masked("object", 1)), ([True], Masked("array", 1))):
        (finding,) = found({"a": 1}, {"a": two})
        assert (finding.expected, finding.actual) == (1, shown)
        (finding,) = found({"a": Hole("k", "n")}, {"a": two})
        assert finding.actual == shown


def test_names_below_a_sensitive_path_are_hidden_unless_the_contract_has_them() -> None:
    """A field name can be a value: in a map of names to something, say."""
    under = (("$.a", Sensitive()), ("$.a.known", Sensitive()))
    assert [each.path for each in found({"a": {"known": 1, "kim": 1}}, {"a": {}}, *under)] == ["$.a.*", "$.a.known"]
    assert [each.path for each in found({"b": {"kim": 1}}, {"b": {}}, *under)] == ["$.b.kim"]


def test_a_name_that_says_a_sensitive_value_is_hidden() -> None:
    """Wherever it stands; the names that the contract has are none."""
    under = (("$.a", Sensitive()), ("$.kim_id", Tolerance()))
    one, two = {"a": "kim_id", "b": {"kim_id": 1}, "kim_id": 1}, {"a": "kim_id", "b": {}, "kim_id": 2}
    assert [each.path for each in found(one, two, *under)] == ["$.b.*", "$.kim_id"]


# -- by what a value says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("abc", "abc", True),
        ("abc", "xabcx", False),
        ("abcd", "xabcdx", True),
        ("abcd", "abcd", True),
        ("abcd", "abce", False),
        ("abcdef", "abcd", False),
    ],
)
def test_a_sensitive_value_hides_what_contains_it(secret: str, text: str, masked: bool) -> None:
    """From four characters on; a shorter one would hide half of everything, and hides only its like."""
    (finding,) = found({"s": secret, "n": text}, {"s": secret, "n": 1}, ("$.s", Sensitive()))
    assert finding.expected == (Masked("string", len(text)) if masked else text)


def test_one_hidden_text_hides_the_object_around_it() -> None:
    """It is shown whole or not at all."""
    one = {"s": "secret", "n": {"x": "secret", "y": "harmless"}}
    (finding,) = found(one, {"s": "secret"}, ("$.s", Sensitive()))
    assert finding.expected == Masked("object", 2)


# -- sealed values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "kinds"),
    [("x", "y", []), ("x", None, ["wrong_value"]), (None, "y", ["wrong_value"]), (None, None, [])],
)
def test_sealed_values_differ_by_being_there(one: Any, two: Any, kinds: list[str]) -> None:
    """What they are is judged elsewhere; null is not encrypted."""
    assert [each.kind for each in found({"p": one}, {"p": two}, ("$.p", Sealed("any")))] == kinds


# -- what is exposed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "parts"),
    [
        ({"a": 1}, {"a": 2}, [("$.a", "", 2)]),
        ({"a": Hole("k", "n")}, {"a": 2}, [("$.a", "", 2)]),
        ({"a": Hole("k", "n")}, {}, []),
        ({}, {"a": 2}, [("$.a", "a", 2)]),
        ({"a": 1}, {}, []),
        ({"l": [1]}, {"l": [1, 2]}, [("$.l[1]", "", 2)]),
    ],
)
def test_what_is_not_as_expected_is_searched(one: Any, two: Any, parts: Exposed) -> None:
    """Plaintext may have got to any place that differs, with the name of a field that nobody expected."""
    assert exposed(one, two) == parts


# -- lists without order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "patterns", "path"),
    [
        ({"id": "A"}, [], '$.l[id="A"]'),
        ({"id": True}, [], "$.l[id=true]"),
        ({}, [], "$.l[id=absent]"),
        ({"id": True}, [("$.l", Sensitive())], "$.l[id=*]"),
        ({"id": True}, [("$.l[*].id", Sensitive())], "$.l[id=*]"),
        ({"id": {"x": True}}, [], "$.l[id=*]"),
        ({"id": "secret"}, [("$.s", Sensitive())], "$.l[id=*]"),
        ({"id": "other"}, [("$.s", Sensitive())], '$.l[id="other"]'),
        ({"id": "x" * 500}, [], '$.l[id="' + "x" * (limits.SHOWN_CHARS_MAX - 1) + '…"]'),
    ],
)
def test_an_item_is_named_by_what_identifies_it_unless_that_is_hidden(
    item: Any, patterns: list[tuple[str, Rule]], path: str
) -> None:
    """By where it stands, by what it says, or because nobody knows what is in it."""
    under = [("$.l", Unordered((parse_path("id"),))), *patterns]
    assert [each.path for each in found({"s": "secret", "l": [item]}, {"s": "secret", "l": []}, *under)] == [path]


def test_an_item_with_a_hole_for_a_name_is_hidden() -> None:
    """Nobody knows what it would have been called."""
    under = ("$.l", Unordered((parse_path("id"),)))
    paths = [each.path for each in found({"l": [{"id": Hole("k", "n")}]}, {"l": []}, under)]
    assert set(paths) == {"$.l[id=*]", "$.l[id=*].id"}


def test_findings_of_items_stand_in_the_order_of_their_names() -> None:
    """Not in the order in which the items happened to be read."""
    under = ("$.l", Unordered((parse_path("id"),)))
    paths = [each.path for each in found({"l": [{"id": 2}]}, {"l": [{"id": 1}]}, under)]
    assert paths == ["$.l[id=1]", "$.l[id=2]"]


@pytest.mark.parametrize("rule", [Tolerance(abs=1), Sealed("any")])
def test_items_alike_but_for_what_is_not_compared_are_partners(rule: Rule) -> None:
    """The tolerated or sealed value of an item does not decide whose partner it is; what is left is compared."""
    one = [{"n": "a", "v": 10}, {"n": "b", "v": 20}]
    two = [{"n": "b", "v": 21}, {"n": "c", "v": 10}]
    under = (("$.l", Unordered()), ("$.l[*].v", rule))
    assert [(each.kind, each.path) for each in found({"l": one}, {"l": two}, *under)] == [("wrong_value", "$.l[*].n")]


def _numbers(*values: int | Decimal) -> dict[str, list[dict[str, int | Decimal]]]:
    return {"l": [{"v": value} for value in values]}


def test_under_a_tolerance_as_many_are_matched_as_fit() -> None:
    """Whatever their order: one that has no partner does not take the place of one that has."""
    under = (("$.l", Unordered()), ("$.l[*].v", Tolerance(abs=1)))
    assert [each.kind for each in found(_numbers(0, 10), _numbers(10), *under)] == ["missing_field"]
    assert [each.kind for each in found(_numbers(10), _numbers(0, 10), *under)] == ["unexpected_field"]
    assert found(_numbers(2, 1), _numbers(0, 2), *under) == ()
    assert found(_numbers(1, 2, 3), _numbers(2, 3, 1), *under) == ()


@pytest.mark.parametrize("items", [MATCHED_MAX, MATCHED_MAX + 1, 200])
def test_beyond_a_limit_items_are_matched_by_their_number(items: int) -> None:
    """From the lowest to the highest, and numbers are no texts (9.9 comes before 10.1); either side may be longer."""
    under = (("$.l", Unordered()), ("$.l[*].v", Tolerance(abs=Decimal("0.5"))))
    far = [number * 10 for number in range(items)]
    for kept in (far[0], far[-1]):
        more = [each.kind for each in found(_numbers(*far), _numbers(kept), *under)]
        assert more[:50] == ["missing_field"] * min(50, items - 1)
    less = [each.kind for each in found(_numbers(far[-1]), _numbers(*far), *under)]
    assert less[:50] == ["unexpected_field"] * min(50, items - 1)
    low, high = ([Decimal(f"{number + off}") for number in range(items)] for off in (0.9, 1.1))
    assert found(_numbers(*low), _numbers(*reversed(high)), *under) == ()
    assert found(_numbers(*reversed(low)), _numbers(*high), *under) == ()
    (one,) = found(_numbers(*low), _numbers(*high[:-1], high[-1] + 1), *under)
    assert one.kind == "wrong_value"
    assert found(_numbers(*low, "text", None), _numbers(None, *high, "text"), *under) == ()


@pytest.mark.parametrize(("ours", "theirs"), [(4, 4), (MATCHED_MAX, MATCHED_MAX), (MATCHED_MAX + 1, MATCHED_MAX)])
def test_up_to_the_limit_items_alike_but_for_two_tolerances_find_each_other(ours: int, theirs: int) -> None:
    """Two that lie near each other fit crosswise only; beyond the limit that is not found."""
    under = (("$.l", Unordered()), ("$.l[*].v", Tolerance(abs=1)), ("$.l[*].w", Tolerance(abs=1)))
    far = [{"v": 100 * number, "w": 0} for number in range(1, MATCHED_MAX)]
    one = [{"v": 0, "w": 10}, {"v": 1, "w": 0}, {"v": 50, "w": 10}, {"v": 51, "w": 0}, *far]
    two = [{"v": 51, "w": 10}, {"v": 50, "w": 0}, {"v": 1, "w": 10}, {"v": 0, "w": 0}, *far]
    said = {each.kind for each in found({"l": one[:ours]}, {"l": two[:theirs]}, *under)}
    assert ("wrong_value" in said) == (ours > MATCHED_MAX)


def test_items_that_are_numbers_themselves_are_matched_under_a_tolerance() -> None:
    """In a list without order, and in one that lies in an item of such a list."""
    flat = (("$.l", Unordered()), ("$.l[*]", Tolerance(abs=1)))
    assert found({"l": [1, 2]}, {"l": [3, 2]}, *flat) == ()
    assert [each.kind for each in found({"l": [1, 2]}, {"l": [1, 9]}, *flat)] == ["wrong_value"]
    nested = (("$.l", Unordered()), ("$.l[*].e", Unordered()), ("$.l[*].e[*]", Tolerance(abs=1)))
    assert found({"l": [{"e": [1, 2]}, {"e": [8]}]}, {"l": [{"e": [9]}, {"e": [3, 2]}]}, *nested) == ()


def test_of_two_tolerances_the_one_without_wildcard_counts() -> None:
    """In whatever order they are written."""
    few = [("$.a.b.*", Tolerance(abs=5)), ("$.*.*.c", Tolerance(abs=1))]
    for under in (few, few[::-1]):
        assert found({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 4}}}, *under) == ()
    rules = [("$.m.x", Tolerance(abs=5)), ("$.m.*", Tolerance(abs=1))]
    for under in (rules, rules[::-1]):
        assert found({"m": {"x": 1, "y": 1}}, {"m": {"x": 4, "y": 2}}, *under) == ()
        assert [each.path for each in found({"m": {"x": 1, "y": 1}}, {"m": {"x": 1, "y": 4}}, *under)] == ["$.m.y"]


# -- by what a note quotes -------------------------------------------------------------------------------------------

LONG = "abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.mark.parametrize(
    ("secret", "note", "hidden"),
    [
        ("abcd", "legacy value xabcdx is too long", True),
        ("abc", "legacy value xabcx is too long", False),
        ("abc", 'no entry for "abc" in the table', True),
        ("abc", "no entry for abc in the table", False),
        ("abc", "legacy value abc: it does not fit", True),
        ("abc", "legacy value abc has no zone", True),
        ("abc", "the legacy value abc: it does not fit", False),
        ("", 'legacy value "" is no number', False),
        ('a"bcd', r'legacy value "a\"bcd" is no number', True),
        (LONG, f"legacy value {LONG[:NOTED_CHARS]}…", True),
        (LONG, f"legacy value {LONG[: NOTED_CHARS - 1]}…", False),
        (LONG, f"legacy value {LONG[1:NOTED_CHARS]}…", False),
    ],
)
def test_a_note_that_quotes_a_secret_is_not_shown(secret: str, note: str, hidden: bool) -> None:
    """As JSON, by its beginning where it is long, and where it is short as the whole that a note speaks of."""
    (finding,) = all_differences({"a": Hole("k", note)}, {}, NO_RULES, SHOW, [], secret=[secret])
    assert finding.note == (HIDDEN_NOTE if hidden else note)


def test_what_will_not_be_listed_is_not_looked_at() -> None:
    """One finding more than are listed is still shown, because it names the kind; of those behind it nothing is."""
    names = [f"f{number:03}" for number in range(limits.FINDINGS_MAX + 2)]
    wrong = all_differences(dict.fromkeys(names, "a"), dict.fromkeys(names, "b"), NO_RULES, SHOW, [])
    assert [each.actual for each in wrong[-2:]] == ["b", Masked("string", 1)]
    holes = all_differences({name: Hole("k", "n") for name in names}, {}, NO_RULES, SHOW, [])
    assert [each.note for each in holes[-2:]] == ["n", HIDDEN_NOTE]
