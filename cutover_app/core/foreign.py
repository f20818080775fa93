"""A run is of one contract: what was made under the rules of another is foreign to it (R3)."""

from collections.abc import Iterable
from typing import Final

from cutover_app.core.frames import FrameError

CHANGED: Final = "a changed contract is a new run; set another `run`"


class ForeignRulesError(FrameError):
    """An intake record or a row that was made under another contract than this worker's."""


def foreign(found: Iterable[str], rules: str = "") -> str:
    """Say in what way the rules that were found in a run are not these; empty where they are, or where there are none.

    `rules` is empty where the contract in hand is not known; then all that can be told is whether they differ.
    """
    kinds = set(found)
    if len(kinds) > 1:
        return f"this run was judged under {len(kinds)} different contracts: {CHANGED}"
    if kinds and rules and kinds != {rules}:
        return f"this run was judged under another contract than this one: {CHANGED}"
    return ""
