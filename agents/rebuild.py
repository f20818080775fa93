"""Stage one, legacy side: make the messages that the rebuilt producer should publish."""

from typing import Any


async def rebuild(stream: Any) -> None:
    """Rebuild the expected messages of legacy records and forward them to intake."""
    app = stream.app
    async for chunk in app.chunk_consumer.chunks(stream):
        with app.while_at_work():
            await app.legacy.take(chunk)
