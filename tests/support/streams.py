"""Byte streams in connected pairs, and what stands at both ends of a listener: raw clients, an echo, gRPC."""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from aioquic.quic import events

from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from pki.svid import TrustBundle
from rogue.peer import Peer, RogueClient
from rogue.script import Script
from support import certs
from tndrl.transport import http2
from tndrl.transport.dialer import MuxDialer, Target
from tndrl.transport.endpoint import Endpoint, ServerCallbacks
from tndrl.transport.gate import CallGate
from tndrl.transport.grpc_server import GrpcServer
from tndrl.transport.identity import ClientPolicy, ServerPolicy, VerifyPeer
from tndrl.transport.interceptor import PeerInterceptor
from tndrl.transport.listener import MuxListener
from tndrl.transport.memory import memory_pair
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.stateless_reset import ResetKey
from tndrl.transport.stream import ByteStream
from tndrl.transport.tickets import IssuedTickets
from tndrl.transport.udp import bind_udp, client_udp
from tndrl.transport.unix import UnixStream

PATIENCE = 10.0
"""Seconds that any wait may take; a test that reaches it has failed."""

HELLO = http2.PREFACE + http2.SETTINGS
"""What a bridge passes on at once: a client's preface and a whole HTTP/2 frame."""

ECHO_TYPE = 0x10
GRPC_TYPE = 0x11


def node_id(name: str) -> str:
    """Return a node's SPIFFE ID."""
    return f"spiffe://{certs.DOMAIN}/node/{name}"


@functools.cache
def credentials(name: str = "a") -> Credentials:
    """Return what ``spiffe://tndrl/node/<name>`` proves itself with."""
    made = certs.node_leaf(name)
    bundle = TrustBundle.from_pem(certs.world().ca_pem)
    leaf = made.certificate
    return Credentials(SpiffeId.parse(node_id(name)), (leaf,), made.key, bundle, leaf.not_valid_after_utc)


async def until(condition: Callable[[], bool], changed: Callable[[], Any] | None = None) -> None:
    """Wait until ``condition`` holds, asked again after each ``await changed()``, a turn of the loop by default."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await (changed() if changed is not None else asyncio.sleep(0))


async def eventually(call: Callable[[], Awaitable[bytes]]) -> bytes:
    """Return what the first of repeated calls answers that does not fail as UNAVAILABLE."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


# Two endpoints of our own


@dataclass
class Quic:
    """Both ends of one QUIC connection on the loopback interface."""

    client: Session
    server: Session
    client_endpoint: Endpoint
    server_endpoint: Endpoint
    accepted: asyncio.Queue[QuicStream]

    async def streams(self) -> tuple[QuicStream, QuicStream]:
        """Open a stream and return both ends of it."""
        near = self.client.open_stream()
        await near.send(b"!")
        async with asyncio.timeout(PATIENCE):
            far = await self.accepted.get()
            assert await far.receive(1) == b"!"
        return near, far

    async def exchange(self) -> None:
        """Return when everything sent before has arrived, in both directions."""
        for _ in range(2):
            await self.client.ping()
            await self.server.ping()


@dataclass
class Server:
    """An endpoint that accepts, and what it told its owner."""

    endpoint: Endpoint = field(init=False)
    accepted: asyncio.Queue[QuicStream] = field(default_factory=asyncio.Queue)
    confirmed: asyncio.Queue[Session] = field(default_factory=asyncio.Queue)
    closed: asyncio.Queue[Session] = field(default_factory=asyncio.Queue)


@asynccontextmanager
async def accepting(
    settings: QuicSettings | None = None,
    verify: VerifyPeer | None = None,
    *,
    port: int = 0,
    offload: bool = True,
    reset_key: ResetKey | None = None,
    tickets: IssuedTickets | None = None,
) -> AsyncIterator[Server]:
    """Yield an endpoint of node "a" that accepts connections of the world's nodes."""
    server, ours = Server(), credentials("a")
    server.endpoint = Endpoint(
        bind_udp("127.0.0.1", port),
        ours,
        settings or QuicSettings(),
        server=ServerCallbacks(
            verify_peer=verify or ClientPolicy(ours.bundle).verify,
            on_stream=server.accepted.put_nowait,
            on_confirmed=server.confirmed.put_nowait,
            on_closed=server.closed.put_nowait,
            tickets=tickets,
        ),
        offload=offload,
        reset_key=reset_key,
    )
    try:
        yield server
    finally:
        server.endpoint.close()


@contextmanager
def dialling(
    settings: QuicSettings | None = None, *, offload: bool = True, host: str | None = None
) -> Iterator[Endpoint]:
    """Yield an endpoint of node "b" that only dials, from ``host`` if given."""
    sock = client_udp(socket.AF_INET) if host is None else bind_udp(host, 0)
    endpoint = Endpoint(sock, credentials("b"), settings or QuicSettings(), offload=offload)
    try:
        yield endpoint
    finally:
        endpoint.close()


def dial(endpoint: Endpoint, address: Any, expected: str | None = None, **options: Any) -> Session:
    """Begin a handshake with the node at ``address``; ``options`` are a ticket and who takes those that come."""
    whom = None if expected is None else SpiffeId.parse(expected)
    policy = ServerPolicy(credentials("b").bundle, "localhost", whom)
    return endpoint.connect(address, "peer", verify_peer=policy.verify, server_name="localhost", **options)


@asynccontextmanager
async def connected(
    settings: QuicSettings | None = None,
    client_settings: QuicSettings | None = None,
    *,
    offload: bool = True,
) -> AsyncIterator[Quic]:
    """Yield a confirmed connection from node "b" to node "a"; ``settings`` are the server's, or both sides'."""
    async with accepting(settings, offload=offload) as server:
        with dialling(client_settings or settings, offload=offload) as client:
            session = dial(client, server.endpoint.address)
            await session.wait_confirmed()
            yield Quic(session, await server.confirmed.get(), client, server.endpoint, server.accepted)


@asynccontextmanager
async def quic_streams() -> AsyncIterator[tuple[ByteStream, ByteStream]]:
    """Yield both ends of a QUIC stream."""
    async with connected() as quic:
        near, far = await quic.streams()
        yield near, far
        await near.aclose()
        await far.aclose()


@asynccontextmanager
async def unix_streams() -> AsyncIterator[tuple[ByteStream, ByteStream]]:
    """Yield both ends of a unix socket connection."""
    near, far = [UnixStream(end) for end in nonblocking_pair()]
    yield near, far
    for stream in (near, far):
        stream.abort(0)
        await stream.aclose()


def nonblocking_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected unix sockets."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


@asynccontextmanager
async def memory_streams() -> AsyncIterator[tuple[ByteStream, ByteStream]]:
    """Yield both ends of a stream in memory."""
    yield memory_pair()


# A listener with services behind it, and callers


class Echo:
    """A unix server that sends back what it gets after a preface, ends with its client, and remembers connections."""

    def __init__(self) -> None:
        self.opened = 0
        self.received = bytearray()
        self.changed = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether every connection that came is gone."""
        return not self._open

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.opened += 1
        self._notify()
        try:
            assert await reader.readexactly(len(http2.PREFACE)) == http2.PREFACE
            while data := await reader.read(65536):
                self.received += data
                self._notify()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the bridge gave up, which is what the tests ask about
        finally:
            writer.close()
            self._open.discard(task)
            self._notify()

    def _notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[Echo], bool], seconds: float = PATIENCE) -> None:
        """Wait until ``condition`` holds of this server."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                await self.changed.wait()


@asynccontextmanager
async def listening(folder: Path, **options: Any) -> AsyncIterator[tuple[MuxListener, Echo]]:
    """Yield a listener of node "a" on a free port, with an echo on streams of type 0x10."""
    echo = Echo()
    server = await asyncio.start_unix_server(echo.serve, folder / "echo")
    where = {"host": "127.0.0.1", "port": 0}
    async with server, MuxListener(credentials("a"), **(where | options)) as listener:
        listener.bind(ECHO_TYPE, str(folder / "echo"))
        yield listener, echo
    await echo.until(lambda it: it.is_idle)


@contextmanager
def full_server(path: Path) -> Iterator[socket.socket]:
    """Yield a server whose queue of connections is full."""
    with ExitStack() as clients, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        server.setblocking(False)
        while True:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield server


@asynccontextmanager
async def grpc_server(
    path: Path, handlers: dict[str, Any], gate: CallGate | None = None, *, idempotent: Collection[str] = ()
) -> AsyncIterator[GrpcServer]:
    """Run a gRPC server on a unix socket: ``handlers`` of the service ``test.Service`` behind the peers' gate."""

    def register(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))

    gate = gate or CallGate()
    interceptors = [PeerInterceptor(gate, idempotent)]
    server = GrpcServer(
        "test", path, register, interceptors=interceptors, max_message=1 << 20, limits=gate.limits
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def serving(
    folder: Path,
    handlers: dict[str, Any],
    gate: CallGate | None = None,
    *,
    idempotent: Collection[str] = (),
    **options: Any,
) -> AsyncIterator[MuxListener]:
    """Yield a listener with a gRPC server of ``handlers`` on streams of type 0x11, and the echo on 0x10."""
    async with (
        grpc_server(folder / "grpc", handlers, gate, idempotent=idempotent) as server,
        listening(folder, **options) as (listener, _echo),
    ):
        listener.bind(GRPC_TYPE, server.path, holds_calls=True)
        yield listener


def target(address: str, expected: str | None = None) -> Target:
    """Return the target at ``host:port``."""
    host, _, port = address.rpartition(":")
    return Target(host, int(port), None if expected is None else SpiffeId.parse(expected))


def dialer(name: str = "b", **options: Any) -> MuxDialer:
    """Return a dialer of ``spiffe://tndrl/node/<name>``."""
    return MuxDialer(credentials(name), **options)


def honest(name: str) -> Script:
    """Return the script of ``spiffe://tndrl/node/<name>`` that does nothing wrong."""
    made = certs.node_leaf(name)
    return Script(chain=made.chain_der, key=made.key)


class RawClient(RogueClient):
    """An honest client that writes whatever it likes on streams, and remembers what it was told to stop sending."""

    def __init__(self, address: str, name: str = "raw") -> None:
        super().__init__(address, honest(name))
        self.stopped: dict[int, int] = {}

    async def __aenter__(self) -> Peer:
        peer = await super().__aenter__()
        connection = peer.connection
        take = connection.next_event

        def next_event() -> events.QuicEvent | None:
            event = take()
            if isinstance(event, events.StopSendingReceived):
                self.stopped[event.stream_id] = event.error_code
            return event

        connection.next_event = next_event
        assert await peer.outcome() is None
        return peer


def deafen(session: Session) -> None:
    """Let nothing that comes for a connection be heard any more, as if its peer had crashed without a trace."""
    session.receive_datagram = lambda _data, _address: None


async def echoes(peer: Peer, stream_id: int) -> None:
    """Check that a new stream of type 0x10 works."""
    peer.send(stream_id, bytes([ECHO_TYPE]) + HELLO)
    await peer.until(lambda: peer.received[stream_id] == http2.SETTINGS)


# HTTP/2 by hand, for callers that stop in the middle


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Return one HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def headers(fields: dict[str, str], *, end: bool = False) -> bytes:
    """Return HEADERS of stream 1: literals, nothing indexed, no Huffman code (RFC 7541 section 6.2.2)."""
    block = b""
    for part in fields.items():
        block += b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in part)
    return frame(0x01, 0x05 if end else 0x04, 1, block)


def message(body: bytes = b"", *, end: bool = False) -> bytes:
    """Return DATA of stream 1 with one gRPC message."""
    return frame(0x00, int(end), 1, b"\0" + len(body).to_bytes(4, "big") + body)


def fields(method: str, *, service: str = "test.Service") -> dict[str, str]:
    """Return the header fields of a call."""
    return {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{service}/{method}",
        ":authority": "tndrl",
        "te": "trailers",
        "content-type": "application/grpc",
    }


def request(method: str, *, service: str = "test.Service") -> bytes:
    """Return the begin of an HTTP/2 connection with one call of ``service``, its message still to come."""
    return HELLO + headers(fields(method, service=service))


def answers(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, stream and body of each frame."""
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        (kind, stream) = data[3], struct.unpack(">I", data[5:9])[0]
        yield kind, stream, data[9 : 9 + length]
        data = data[9 + length :]


def outcomes(received: bytes) -> dict[int, str]:
    """Return for each call that a server has answered its status, or "reset"."""
    found: dict[int, str] = {}
    for kind, number, body in answers(received):
        if kind == 1 and b"grpc-status" in body:
            status = body.partition(b"grpc-status")[2]
            found[number] = status[1 : 1 + status[0]].decode()
        elif kind == 3:
            found.setdefault(number, "reset")
    return found
