"""Changes that no test of the core notices, and why that is so."""

from typing import Final

SURVIVORS: Final[dict[str, dict[str, str]]] = {}
