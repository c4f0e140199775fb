"""A grpc.aio server on a thread and event loop of its own, so that no handler can hold up another service."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tndrl.config import LimitsConfig
from tndrl.transport.grpc_logs import drop_peer_noise
from tndrl.transport.http2 import NO_PING_TIMEOUT
from tndrl.transport.service_loop import ServiceLoop
from tndrl.transport.unix import checked_path

logger = logging.getLogger("tndrl.transport")

STOP_TIMEOUT = 0.25
"""Seconds that handlers have to end once they are cancelled."""

Register = Callable[[grpc.aio.Server], None]
"""Adds servicers to a server, as the generated ``add_..._to_server`` functions do."""


class GrpcServer:
    """Runs one grpc.aio server on a unix socket. Start it and stop it from any event loop.

    What its handlers need is ``lifespan``: entered on its loop before ``register``, left after the last call. The loop
    of a ``patient`` server is not woken for the calls of others; see :class:`ServiceLoop`.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        register: Register,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor[Any, Any]],
        max_message: int,
        limits: LimitsConfig | None = None,
        lifespan: AbstractAsyncContextManager[object] | None = None,
        patient: bool = False,
    ) -> None:
        self.name = name
        self.path = checked_path(path)
        self._register = register
        self._interceptors = interceptors
        self._patient = patient
        self._lifespan = lifespan or nullcontext()
        limits = limits or LimitsConfig()
        self._options: list[tuple[str, Any]] = [
            ("grpc.max_concurrent_streams", limits.calls_per_stream),
            # It resets streams while Python is still tidying up after earlier ones; CallGate bounds them instead.
            ("grpc.http.overload_protection", 0),
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_metadata_size", limits.metadata),
            ("grpc.absolute_max_metadata_size", limits.metadata),
            ("grpc.so_reuseport", 0),
            NO_PING_TIMEOUT,
            *_ages(limits),
        ]
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: grpc.aio.Server | None = None
        self._finished: asyncio.Event | None = None
        self._ended: Future[None] = Future()  # the thread is about to end

    def __repr__(self) -> str:
        return f"<GrpcServer {self.name}, {'running' if self._server is not None else 'stopped'}>"

    async def start(self) -> None:
        """Start the thread and the server; raises whatever the registration or the lifespan raised."""
        drop_peer_noise()
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name=f"tndrl {self.name}", daemon=True
        )
        self._thread.start()
        await asyncio.wrap_future(started)

    async def drain(self, grace: float) -> None:
        """Send GOAWAY, take nothing new, and wait until running calls are done or ``grace`` seconds are over."""
        if (server := self._server) is not None:
            await self.run(lambda: server.stop(grace))

    async def stop(self) -> None:
        """Cancel running calls, end the server and its thread. Does nothing twice.

        A handler that does not give the thread back within :data:`STOP_TIMEOUT` is left behind, with a warning.
        """
        server, self._server = self._server, None
        if server is None or self._finished is None or self._loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._finish(server, self._finished), self._loop)
        ended, _late = await asyncio.wait({asyncio.wrap_future(self._ended)}, timeout=STOP_TIMEOUT)
        if not ended:
            logger.warning("a handler of %s does not give its thread back; it is left behind", self.name)

    async def run(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Await ``function()`` on the server's own loop."""

        async def call() -> None:
            await function()

        assert self._loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self._loop))

    # On the server's thread

    async def _finish(self, server: grpc.aio.Server, finished: asyncio.Event) -> None:
        try:
            await server.stop(None)
        finally:
            finished.set()

    def _run(self, started: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: ServiceLoop(patient=self._patient)) as runner:
                runner.run(self._live(started))
        except Exception as error:
            if started.done():
                logger.exception("the server of %s ended by a fault", self.name)
            else:
                started.set_exception(error)
        finally:
            self._ended.set_result(None)

    async def _live(self, started: Future[None]) -> None:
        async with self._lifespan:
            await self._serve(started)

    async def _serve(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._finished = asyncio.Event()
        server = grpc.aio.server(interceptors=list(self._interceptors), options=self._options)
        try:
            self._register(server)
            server.add_insecure_port(f"unix:{self.path}")  # raises RuntimeError
        except Exception:
            await server.start()  # grpcio frees only what has run
            await server.stop(None)
            raise
        await server.start()
        os.chmod(self.path, 0o600)  # noqa: PTH101 - no more than a system call
        self._server = server
        started.set_result(None)
        await self._finished.wait()


def _ages(limits: LimitsConfig) -> list[tuple[str, int]]:
    """Return grpcio's options for how long a stream, which is a connection to it, may live (gRFC A9)."""
    ages = {
        "grpc.max_connection_age_ms": limits.stream_age,
        "grpc.max_connection_idle_ms": limits.stream_idle,
    }
    return [(name, round(1000 * seconds)) for name, seconds in ages.items() if seconds]
