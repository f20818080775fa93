"""What the tables share when their rows are shown to people."""

from collections.abc import Callable
from typing import Any

Shown = dict[str, Any]
ShowKey = Callable[[bytes], list[Any]]
"""Shows a match key as the contract allows it."""


def hidden_key(key: bytes) -> list[Any]:
    """Show nothing of a match key but its length: without the contract nobody knows whether it may be seen."""
    return [{"masked": "key", "len": len(key)}]
