"""How much a rebuilt message comes to, before it is written: what all its items share is in it as often."""

from contextlib import suppress
from decimal import Decimal

from cutover_app.contract.hook import HookError
from cutover_app.contract.secret_values import Budget, Build, Message, OversizedError
from cutover_app.core.canonical import Value
from cutover_app.core.limits import ENTRY_BYTES_MAX
from cutover_app.core.rules import Rules, Secret


def within_limits(
    build: Build, budget: Budget, message: Message, rules: Rules, *, repeats: bool
) -> Message | HookError:
    """Build a message; `repeats`: its items may share what is large, so it is looked through before it is written."""
    budget.begin()
    with suppress(OversizedError):
        made: Message = build(message, message)
        if not (repeats and oversized(made, rules, ENTRY_BYTES_MAX)):
            return made
    return HookError(f"oversized: more than {ENTRY_BYTES_MAX} characters")


def oversized(made: Message, rules: Rules, limit: int) -> bool:
    """Tell whether a message is longer than that in characters: written, what all its items share is there as often.

    What is not compared does not count. A number counts as its digits, without being written.
    """
    left = limit
    waiting: list[tuple[Value, Rules]] = [(made, rules)]
    while waiting and left >= 0:
        value, inner = waiting.pop()
        if type(value) is Secret:
            value = value.value
        left -= 1
        if type(value) is dict:
            for name, each in value.items():
                below = inner.of(name)
                if not below.ignored and (inner.known is None or name in inner.known):
                    left -= len(name)
                    waiting.append((each, below))
        elif type(value) is list:
            below = inner.of_items()
            if not below.ignored:
                waiting.extend((each, below) for each in value)
        elif type(value) is str:
            left -= len(value)
        elif type(value) is int:
            left -= value.bit_length() * 3 // 10
        elif type(value) is Decimal:
            left -= len(value.as_tuple().digits)
    return left < 0
