"""Nodes for tests: one that runs here, callers of it, and a witness that tells what reached a gRPC server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

import tndrl
from support import certs, streams
from tndrl.transport.session import Session
from tndrl.v1 import control_pb2, control_pb2_grpc

WITNESS_TYPE = 0x10


class Witness:
    """A user's service that counts what reaches it and answers with the caller's verified identity."""

    def __init__(self) -> None:
        self.calls = 0

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register with a server, as generated code does."""
        handlers = {"WhoAmI": grpc.unary_unary_rpc_method_handler(self._who_am_i)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Witness", handlers),))

    async def _who_am_i(self, _request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.calls += 1
        return str(tndrl.peer_identity(context)).encode()


def config(folder: Path, chain: certs.Made | None = None, **flags: object) -> tndrl.Config:
    """Return the configuration of a node whose files are written below ``folder``; "a" unless told otherwise.

    A flag's dots are written as two underscores: ``server__allow=[...]``. ``peers`` and ``limits`` take what stands
    in a file.
    """
    pki_dir = folder / "pki"
    if not pki_dir.exists():
        pki_dir.mkdir(parents=True)
        certs.write_pki_dir(pki_dir, chain)
    file = folder / "node.yaml"
    file.write_text(json.dumps({"peers": flags.pop("peers", []), "limits": flags.pop("limits", {})}))
    given = {name.replace("__", "."): value for name, value in flags.items()}
    defaults = {"server.addr": "127.0.0.1:0", "pki.dir": str(pki_dir), "stateDir": str(folder / "state")}
    return tndrl.load_config(file, flags=defaults | given, env={})


@asynccontextmanager
async def running(
    folder: Path,
    chain: certs.Made | None = None,
    *,
    witness: Witness | None = None,
    idempotent: Collection[str] = (),
    **flags: object,
) -> AsyncIterator[tndrl.Node]:
    """Run a node on a free port of the loopback interface; ``idempotent`` are methods of the witness."""
    node = tndrl.Node(config(folder, chain, **flags))
    if witness is not None:
        node.add_service(WITNESS_TYPE, witness.add_to, idempotent=idempotent)
    async with node:
        yield node


@asynccontextmanager
async def calling(folder: Path, name: str, target: str, **flags: object) -> AsyncIterator[tndrl.Peer]:
    """Call a node as ``spiffe://tndrl/node/<name>``."""
    ours = config(folder, certs.node_leaf(name), **flags)
    async with tndrl.connect(target, config=ours) as peer:
        yield peer


def control(peer: tndrl.Peer) -> control_pb2_grpc.ControlServiceStub:
    """Return a stub on a channel of its own."""
    return control_on(peer.channel(tndrl.StreamType.CONTROL))


def control_on(channel: grpc.aio.Channel) -> control_pb2_grpc.ControlServiceStub:
    """Return a stub on a channel that there is."""
    return control_pb2_grpc.ControlServiceStub(channel)


async def ping(stub: control_pb2_grpc.ControlServiceStub) -> None:
    """Call Ping and check its answer."""
    sent = time.time_ns()
    answer = await stub.Ping(control_pb2.PingRequest(timestamp=sent), timeout=5)
    assert answer.ping_timestamp == sent


async def status(peer: tndrl.Peer) -> control_pb2.GetStatusResponse:
    """Call GetStatus."""
    return await control(peer).GetStatus(control_pb2.GetStatusRequest(), timeout=5)


async def who_am_i(peer: tndrl.Peer, metadata: tuple[tuple[str, str], ...] = ()) -> str:
    """Ask the witness who we are."""
    call = peer.channel(WITNESS_TYPE).unary_unary("/test.Witness/WhoAmI")
    return (await call(b"", metadata=metadata, timeout=5)).decode()


def session_of(peer: tndrl.Peer) -> Session:
    """Return the one connection to a peer that lives."""
    (session,) = peer._dialer._connections.pool.live(peer._target)
    return session


async def until_failed(peer: tndrl.Peer, count: int = 1) -> None:
    """Wait until so many tries to reach a peer have failed."""
    failed = peer._dialer._connections._counters
    await streams.until(lambda: failed["handshakes_failed"] >= count, lambda: asyncio.sleep(0.01))
