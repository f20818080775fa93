"""Cutover: proves, on live Kafka traffic, that a rebuilt producer publishes exactly what it should.

The package defines no `app` of its own: `faust -A cutover_app` finds the one of the composition root,
`cutover_app.main`, which is imported only when somebody asks for it.
"""

import sys
from pathlib import Path
from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "app":
        # Faust takes the working directory off the path again before it asks for the app; `agents` and `tables` lie
        # beside this package, and it is those that are meant, whoever else uses the names.
        beside = str(Path(__file__).parents[1])
        if beside not in sys.path:
            sys.path.insert(0, beside)
        from cutover_app.main import app  # noqa: PLC0415 - only when asked for

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
