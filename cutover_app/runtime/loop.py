"""The event loop of a worker: uvloop, where two of its ways do not suit a client of Kafka.

A TLS connection that is closed while an answer arrives waits, with uvloop, for a farewell of the broker that never
comes: 30 s, unless told otherwise. Nothing that we close has anything left to say, but a rebalance and the end of a
worker would wait for it.

Whoever writes to a connection that has just been lost gets a RuntimeError of uvloop, where asyncio says nothing and
lets the reader find out. aiokafka expects asyncio's way: one of its tasks asks for metadata for as long as a client
lives, ended with that error unseen, and everybody who needed to know where the coordinator is waited for ever.

Importing this module puts the loop in place, as `mode.loop` expects of one.
"""

import asyncio
from typing import Any, Final

import uvloop

TLS_CLOSE_SECONDS: Final = 1.0


class Transport:
    """A transport of uvloop that takes what is written to it after it was lost, as those of asyncio do."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        """Return whatever else a transport has."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, if there is still anybody to read it."""
        if not self._transport.is_closing():
            self._transport.write(data)


class Loop(uvloop.Loop):
    """Waits for the farewell of a TLS peer no longer than `TLS_CLOSE_SECONDS`; its connections are `Transport`s."""

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Connect as asyncio does."""
        if options.get("ssl"):
            options.setdefault("ssl_shutdown_timeout", TLS_CLOSE_SECONDS)
        transport, protocol = await super().create_connection(*args, **options)
        return Transport(transport), protocol


class LoopPolicy(uvloop.EventLoopPolicy):  # type: ignore[misc] # uvloop makes it when it is asked for
    """Makes every loop of this process one of these, the consumer thread's too."""

    def _loop_factory(self) -> Loop:
        return Loop()


asyncio.set_event_loop_policy(LoopPolicy())
