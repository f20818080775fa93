"""Match keys and order keys: how they are read off a message, and how they are shown."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from cutover_app.contract.models import Contract
from cutover_app.contract.places import hidden_targets
from cutover_app.core import limits
from cutover_app.core.canonical import Value, canonical, reader
from cutover_app.core.compare import Show, json_type
from cutover_app.core.frames import REBUILD_FAILED, UNKEYED
from cutover_app.core.paths import Path, render_path
from cutover_app.core.rules import ABSENT, Hole, Rules, is_hidden, value_at

Message = dict[str, Value]


class KeyMissingError(ValueError):
    """No match key: the kind of entry that comes of it, and the reason."""

    def __init__(self, kind: int, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


_SCALARS: Final = frozenset({str, int, bool, Decimal})


class KeyReader:
    """Reads the value of a key off messages in the new format."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        only = paths[0] if len(paths) == 1 else ()
        self.name = str(only[0]) if len(only) == 1 else None
        """The field that is the key, in the most common case."""

    def __call__(self, message: Message) -> bytes:
        """Return the key of a message as a canonical array; raises `KeyMissingError`."""
        if self.name is not None:
            part = message.get(self.name)
            if type(part) is str or type(part) is int:
                key = canonical([part])
                if len(key) <= limits.KEY_BYTES_MAX:
                    return key
        parts = [self._part(message, path) for path in self.paths]
        key = canonical(parts)
        if len(key) > limits.KEY_BYTES_MAX:
            raise KeyMissingError(UNKEYED, f"key of {len(key)} bytes, limit {limits.KEY_BYTES_MAX}")
        return key

    def _part(self, message: Message, path: Path) -> Value:
        for length in range(1, len(path) + 1):
            if type(hole := value_at(message, path[:length])) is Hole:
                raise KeyMissingError(REBUILD_FAILED, f"key {render_path(path)}: {hole.kind}")
        part = value_at(message, path)
        if type(part) not in _SCALARS:
            what = "absent" if part is ABSENT else json_type(part)
            raise KeyMissingError(UNKEYED, f"key {render_path(path)} is {what}")
        if type(part) is Decimal and part == part.to_integral_value():
            return int(part)  # A key is the same key however strict numbers are compared.
        return part


def key_shower(contract: Contract, rules: Rules, show: Show) -> Callable[[bytes], list[Any]]:
    """Return what shows a match key as the contract allows it; of a record without one, nothing."""
    read = reader()
    # Of a legacy value that must not be shown, no other name shows it.
    alike = hidden_targets(contract.rebuild, rules) if isinstance(contract.rebuild, dict) else frozenset()
    hidden = [is_hidden(rules, path) or path in alike for path in contract.key_paths()]

    def shown_key(key: bytes) -> list[Any]:
        if not key:
            return []
        parts = zip(read(key), hidden, strict=True)
        return [show.value(part, masked=masked) for part, masked in parts]

    return shown_key
