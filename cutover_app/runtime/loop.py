"""The event loop of a worker: uvloop, whose TLS connections are closed in good time.

A connection that is closed while an answer arrives waits, with uvloop, for a farewell of the broker that never comes:
30 s, unless told otherwise. Nothing that we close has anything left to say, but a rebalance and the end of a worker
would wait for it. Importing this module puts the loop in place, as `mode.loop` expects of one.
"""

import asyncio
from typing import Any, Final

import uvloop

TLS_CLOSE_SECONDS: Final = 1.0


class Loop(uvloop.Loop):
    """Waits for the farewell of a TLS peer no longer than `TLS_CLOSE_SECONDS`."""

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Connect as asyncio does."""
        if options.get("ssl"):
            options.setdefault("ssl_shutdown_timeout", TLS_CLOSE_SECONDS)
        return await super().create_connection(*args, **options)


class LoopPolicy(uvloop.EventLoopPolicy):  # type: ignore[misc] # uvloop makes it when it is asked for
    """Makes every loop of this process one of these, the consumer thread's too."""

    def _loop_factory(self) -> Loop:
        return Loop()


asyncio.set_event_loop_policy(LoopPolicy())
