"""Stage one, rebuilt side: take in what the rebuilt producer did publish."""

from typing import Any


async def observe(stream: Any) -> None:
    """Bring the rebuilt producer's messages into the form that is compared, and forward them to intake."""
    app = stream.app
    async for chunk in app.chunk_consumer.chunks(stream):
        with app.while_at_work():
            await app.rebuilt.take(chunk)
