"""The event loop of a worker: TLS peers that say no farewell, and connections that have just been lost."""

import asyncio
import importlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cutover_app.commands.cli import LOOP
from cutover_app.lab.certificates import SERVER, Authority


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Return port and authority of a server that shakes hands, and then neither reads nor says a word."""
    authority = Authority(tmp_path)
    authority.sign("server", SERVER)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        with listener, context.wrap_socket(listener.accept()[0], server_side=True):
            over.wait()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listener,))
    thread.start()
    try:
        yield listener.getsockname()[1], authority.file
    finally:
        over.set()
        thread.join()


@pytest.fixture
def make_loop() -> Iterator[Callable[[], asyncio.AbstractEventLoop]]:
    """Return what makes a loop. Its module changes the policy of this process, which is put back."""
    policy = asyncio.get_event_loop_policy()
    yield importlib.import_module(LOOP).Loop
    asyncio.set_event_loop_policy(policy)


def test_a_silent_tls_peer_does_not_hold_up_who_closes(
    silent: tuple[int, Path], make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A connection is closed in seconds; uvloop by itself would wait for 30, in every rebalance and at the end."""
    port, authority = silent

    async def close() -> float:
        context = ssl.create_default_context(cafile=str(authority))
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        began = time.monotonic()
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())], timeout=20)
        return time.monotonic() - began

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(close()) < 10


def test_what_is_written_to_a_lost_connection_is_no_error(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """As with asyncio, the reader finds out; uvloop by itself raises what nobody who uses asyncio expects."""

    async def lose() -> None:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(10):  # the peer's answer to the first is that nobody is there
                writer.write(b"a question")
                await asyncio.sleep(0.02)
            with pytest.raises(ConnectionResetError):
                await reader.read()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(asyncio.wait_for(lose(), 10))


def test_every_loop_of_a_worker_is_of_this_kind() -> None:
    """The module that the command line names puts the loop in place, in threads too."""
    code = f"""
import asyncio, mode.loop, threading
mode.loop.use({LOOP!r})
kinds = []
make = lambda: kinds.append(type(asyncio.new_event_loop()).__module__)
make()
thread = threading.Thread(target=make); thread.start(); thread.join()
print(kinds)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str([LOOP, LOOP])
