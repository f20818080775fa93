"""What two entries differ in: reads back what stage one wrote, and compares it."""

from collections.abc import Callable

from cutover_app.contract.errors import ComparisonError
from cutover_app.core.canonical import Value, reader
from cutover_app.core.compare import Exposed, Show, all_differences, at_most, differences
from cutover_app.core.frames import Entry
from cutover_app.core.rules import Hole, Rules, put_back
from cutover_app.core.sealed import beside_unsealed, split, texts_beside, unsealed, values_beside
from cutover_app.core.verdicts import Finding

Diff = Callable[[Entry, Entry], tuple[Finding, ...]]


def differ(rules: Rules, show: Show, *, strict: bool) -> Diff:
    """Return the function (expected, actual) -> findings; none is a match."""
    read = reader(strict=strict)

    def message(entry: Entry, beside: bytes) -> Value:
        value = read(entry.payload)
        lifted = read(beside) if beside else {}
        for path, each in lifted.get("tolerance", ()):
            value = put_back(value, path, each)
        for path, kind, note in lifted.get("holes", ()):
            value = put_back(value, path, Hole(kind, note))
        return value

    def diff(expected: Entry, actual: Entry) -> tuple[Finding, ...]:
        same = expected.payload == actual.payload
        if same and expected.beside == actual.beside:
            return ()
        found = differences(message(expected, expected.beside), message(actual, actual.beside), rules, show)
        _agree(same, found, expected, actual)
        return found

    def sealed_diff(expected: Entry, actual: Entry) -> tuple[Finding, ...]:
        head, plain = split(expected.beside)
        other_head, open_ = split(actual.beside)
        exposed: Exposed = []
        found: list[Finding] = []
        # Where the digests are equal, and nothing else travels beside them, the payload is not even at hand.
        if expected.digest != actual.digest or head != other_head:
            sides = []
            for entry, beside, sealed in ((expected, head, plain), (actual, other_head, open_)):
                value = message(entry, beside)
                for path, each in values_beside(read, sealed):
                    value = put_back(value, path, each)
                sides.append(value)
            found = all_differences(sides[0], sides[1], rules, show, exposed, secret=texts_beside(plain))
        lacking = unsealed((plain, open_), read(expected.key), exposed, rules, show)
        _agree(expected.digest == actual.digest, found or lacking, expected, actual)
        return at_most([*lacking, *beside_unsealed(found, exposed, lacking, texts_beside(plain), show)])

    return sealed_diff if rules.seals else diff


def _agree(same: bool, found: object, expected: Entry, actual: Entry) -> None:
    if not found and not same:
        raise ComparisonError(
            "two messages with unequal digests compare as equal, at offsets "
            f"{expected.offset} (legacy) and {actual.offset} (rebuilt)"
        )
