"""What is particular to unix sockets: paths, who is at the other end, failures; the contract is in test_stream.py."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support import requires, streams
from tndrl.errors import StreamClosedError, UsageError
from tndrl.transport import unix
from tndrl.transport.unix import MAX_PATH, UnixStream, checked_path, is_own_process


def test_a_path_that_fits() -> None:
    """The longest path that every system takes is returned as text."""
    path = Path("/" + "x" * (MAX_PATH - 1))
    assert checked_path(path) == str(path)


@pytest.mark.parametrize("path", [Path("/" + "x" * MAX_PATH), Path("/" + "\u00e4" * 60)])
def test_a_path_that_is_too_long(path: Path) -> None:
    """A longer one, counted in bytes, is refused with the cure."""
    with pytest.raises(UsageError, match="longer than 103 bytes; set TMPDIR"):
        checked_path(path)


def test_our_own_connection_is_ours() -> None:
    """The other end of a pair made here is this process."""
    near, far = socket.socketpair()
    with near, far:
        assert is_own_process(near)


def test_a_childs_connection_is_not_ours(short_dir: Path) -> None:
    """A process of the same user, even our child, is told apart by its process ID."""
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
        listener.listen()
        with subprocess.Popen([sys.executable, "-c", script, str(short_dir / "s")]):
            connection, _ = listener.accept()
            with connection:
                assert not is_own_process(connection)


async def test_connect_from_a_name(short_dir: Path) -> None:
    """A stream can be bound to a name that the other end sees."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
        listener.listen()
        stream = await UnixStream.connect(str(short_dir / "s"), bind=str(short_dir / "me"))
        connection, name = listener.accept()
        connection.close()
        await stream.aclose()
    assert name == str(short_dir / "me")


async def test_connecting_to_nobody(short_dir: Path) -> None:
    """Where nobody listens the system's error is raised, and no descriptor is left."""
    with pytest.raises(FileNotFoundError):
        await UnixStream.connect(str(short_dir / "nobody"))


async def test_a_full_queue_is_no_connection(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes no connections fails the caller, after a time, instead of leaving it without one."""
    requires.linux()
    monkeypatch.setattr(unix, "QUEUE_TIMEOUT", 0.05)
    with streams.full_server(short_dir / "full"), pytest.raises(BlockingIOError):
        await UnixStream.connect(str(short_dir / "full"))


async def test_a_queue_that_empties_is_waited_for(short_dir: Path) -> None:
    """A server that takes connections again gets this one too."""
    requires.linux()
    with streams.full_server(short_dir / "full") as server:
        connecting = asyncio.ensure_future(UnixStream.connect(str(short_dir / "full")))
        await asyncio.sleep(0)
        assert not connecting.done()
        while True:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                break
        stream = await connecting
        accepted, _ = server.accept()
        accepted.close()
        await stream.aclose()


async def test_a_vanished_reader_fails_the_sender() -> None:
    """A sender whose other end was closed gets a stream error, again and again; what had come can be received."""
    near, far = streams.nonblocking_pair()
    stream = UnixStream(near)
    far.send(b"last words")
    far.close()
    with pytest.raises(StreamClosedError) as first:
        await stream.send(bytes(10_000_000))
    with pytest.raises(StreamClosedError) as again:
        await stream.send(b"x")
    assert again.value is first.value
    assert await stream.receive() == b"last words"
    await stream.aclose()


async def test_a_connection_that_is_torn_fails_the_receiver() -> None:
    """Unread bytes at the other end make its close a reset, which a receiver here gets as a stream error."""
    near, far = streams.nonblocking_pair()
    stream = UnixStream(near)
    await stream.send(b"unread")
    waiting = asyncio.ensure_future(stream.receive())
    await asyncio.sleep(0)
    far.close()
    with pytest.raises(StreamClosedError):
        await waiting
    await stream.aclose()


class Disconnected(socket.socket):
    """A socket that says so when it cannot be shut down, as macOS does once the other end is gone."""

    def shutdown(self, _how: int) -> None:
        raise OSError(errno.ENOTCONN, "not connected")


async def test_the_end_cannot_be_sent_to_nobody() -> None:
    """Ending towards a connection that is gone raises, and every later end too."""
    near, far = streams.nonblocking_pair()
    with far:
        stream = UnixStream(Disconnected(fileno=near.detach()))
        for _ in range(2):
            with pytest.raises(StreamClosedError):
                await stream.send_eof()
        await stream.aclose()


async def test_aclose_wakes_who_waits() -> None:
    """Releasing a stream ends a receive and a send that wait on it."""
    near, far = streams.nonblocking_pair()
    stream = UnixStream(near)
    with far:
        waiting = [asyncio.ensure_future(call) for call in (stream.receive(), stream.send(bytes(10_000_000)))]
        await asyncio.sleep(0)
        await stream.aclose()
        for task in waiting:
            with pytest.raises(StreamClosedError):
                await task


async def test_nothing_can_be_sent_after_the_end() -> None:
    """Sending after one's own end is a mistake of the caller."""
    async with streams.unix_streams() as (near, _far):
        await near.send_eof()
        with pytest.raises(UsageError, match="after the end"):
            await near.send(b"more")


async def test_what_was_sent_before_aclose_arrives() -> None:
    """Closing in good order loses nothing that waits to be written."""
    near, far = streams.nonblocking_pair()
    stream = UnixStream(near)
    await stream.send(b"farewell")
    await stream.aclose()
    with far:
        far.setblocking(True)
        assert far.recv(100) == b"farewell"
        assert far.recv(100) == b""


async def test_what_was_read_for_a_cancelled_receiver_is_kept() -> None:
    """Bytes that came in the moment the receiver was cancelled are the next receiver's, as many as it asks for."""
    near, far = [UnixStream(end) for end in streams.nonblocking_pair()]
    receiving = asyncio.ensure_future(near.receive())
    await asyncio.sleep(0)
    far._socket.send(b"abc")
    near._on_readable()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert await near.receive(2) == b"ab"
    assert await near.receive() == b"c"
    for stream in (near, far):
        await stream.aclose()


async def test_a_socket_nobody_reads_is_watched_no_more() -> None:
    """While its receiver is busy elsewhere, a readable socket does not wake the loop again and again."""
    near, far = [UnixStream(end) for end in streams.nonblocking_pair()]
    receiving = asyncio.ensure_future(near.receive())
    await asyncio.sleep(0)
    assert near._is_watched
    await far.send(b"a")
    assert await receiving == b"a"
    await far.send(b"b")
    await streams.until(lambda: not near._is_watched)
    assert await near.receive() == b"b"
    for stream in (near, far):
        await stream.aclose()


async def test_a_wake_for_nothing_is_none() -> None:
    """A socket that turns out to have nothing leaves its receiver waiting."""
    near, far = [UnixStream(end) for end in streams.nonblocking_pair()]
    receiving = asyncio.ensure_future(near.receive())
    await asyncio.sleep(0)
    near._on_readable()
    assert not receiving.done()
    await far.send(b"a")
    assert await receiving == b"a"
    for stream in (near, far):
        await stream.aclose()
