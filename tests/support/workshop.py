"""A user's service with all four kinds of calls, its code generated from ``workshop.proto`` on import."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import tndrl

workshop_pb2, workshop_pb2_grpc = grpc.protos_and_services("support/workshop.proto")
Work, Piece = workshop_pb2.Work, workshop_pb2.Piece

TYPE = 0x10


class Tally:
    """A count that may be raised in any thread and awaited in any event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, Future[None]]] = []

    def add(self) -> None:
        """Raise the count and wake who waited for it."""
        with self._lock:
            self.count += 1
            reached = [future for wanted, future in self._waiting if wanted <= self.count]
            self._waiting = [(wanted, future) for wanted, future in self._waiting if wanted > self.count]
        for future in reached:
            future.set_result(None)

    async def reach(self, wanted: int = 1) -> None:
        """Wait until the count is ``wanted`` or more. Safe to cancel."""
        future: Future[None] = Future()
        with self._lock:
            if self.count >= wanted:
                return
            self._waiting.append((wanted, future))
        await asyncio.shield(asyncio.wrap_future(future))


class Workshop(workshop_pb2_grpc.WorkshopServicer):
    """Makes pieces. ``how``: "" sleeps on the loop, "block" and "spin" hold its thread, "hold" waits for release.

    "fail" ends the call with a rich status.
    """

    def __init__(self) -> None:
        self.begun = Tally()
        self.cancelled = Tally()
        self.released = Tally()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register with a server."""
        workshop_pb2_grpc.add_WorkshopServicer_to_server(self, server)

    async def Make(  # noqa: N802 - the names are the proto's
        self, request: Work, context: grpc.aio.ServicerContext
    ) -> Piece:
        async with self._begun(context):
            return await self._make(request, context)

    async def MakeMany(  # noqa: N802
        self, request: Work, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Piece]:
        async with self._begun(context):
            for _ in range(request.pieces):
                yield await self._make(request, context)

    async def Collect(  # noqa: N802
        self, request_iterator: AsyncIterator[Work], context: grpc.aio.ServicerContext
    ) -> Piece:
        async with self._begun(context):
            pieces = [await self._make(work, context) async for work in request_iterator]
            whole = b"".join(piece.material for piece in pieces)
            return await self._make(Work(material=whole), context)

    async def Exchange(  # noqa: N802
        self, request_iterator: AsyncIterator[Work], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Piece]:
        async with self._begun(context):
            async for work in request_iterator:
                yield await self._make(work, context)

    @asynccontextmanager
    async def _begun(self, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """Count the call, give its metadata back, "echo" first and "echo-bin" last, and count a cancellation."""
        given = dict(context.invocation_metadata())
        context.set_trailing_metadata((("echo-bin", given.get("echo-bin", b"")),))
        await context.send_initial_metadata((("echo", given.get("echo", "")),))
        self.begun.add()
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled.add()
            raise

    async def _make(self, work: Work, context: grpc.aio.ServicerContext) -> Piece:
        await self._toil(work, context)
        return Piece(
            material=work.material,
            made_for=str(tndrl.peer_identity(context)),
            time_left=context.time_remaining() or 0.0,
        )

    async def _toil(self, work: Work, context: grpc.aio.ServicerContext) -> None:
        if work.how == "hold":
            await self.released.reach()
        elif work.how == "block":
            time.sleep(work.seconds)  # noqa: ASYNC251 - what a careless user writes
        elif work.how == "spin":
            spin(work.seconds)
        elif work.how == "fail":
            await context.abort_with_status(rpc_status.to_status(rich_status()))
        else:
            await asyncio.sleep(work.seconds)


def spin(seconds: float) -> None:
    """Keep the interpreter busy with Python code."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(100))


def rich_status() -> status_pb2.Status:
    """Return the status of work that fails, with details of a type."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="NO_MATERIAL", domain="workshop", metadata={"left": "0"}))
    return status_pb2.Status(
        code=code_pb2.FAILED_PRECONDITION, message="there is no material \N{SNOWMAN}", details=[detail]
    )


def stub_of(peer: tndrl.Peer, **options: object) -> workshop_pb2_grpc.WorkshopStub:
    """Return a stub on a channel, and so a QUIC stream, of its own."""
    return workshop_pb2_grpc.WorkshopStub(peer.channel(TYPE, options=list(options.items())))
