"""Cutover: proves, on live Kafka traffic, that a rebuilt producer publishes exactly what it should.

The package defines no `app` of its own: `faust -A cutover_app` finds the one of the composition root, `cutover_app.main`,
which is imported only when somebody asks for it.
"""

from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "app":
        from cutover_app.main import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
