"""Stage two: decide what became of every message."""

from typing import Any


async def judge(stream: Any) -> None:
    """Pair expected with actual messages, and publish what differs."""
    app = stream.app
    async for chunk in app.chunk_consumer.chunks(stream):
        with app.while_at_work():
            await app.judging.take(chunk)
