"""A node: one QUIC listener, the Control service, the agent and the services users add, each on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pki.credentials import Credentials
from pki.spiffe import IdPattern
from tndrl._version import __version__
from tndrl.config import Config, load_config, parse_address
from tndrl.control.service import ControlPlane
from tndrl.control.state import NodeState, StateMachine
from tndrl.errors import UsageError
from tndrl.node.lock import StateDirectory
from tndrl.node.peer import Peer, dialer_of, reach, resolve_target
from tndrl.node.reset_secret import reset_secret
from tndrl.node.services import Service, Services
from tndrl.node.signals import StopSignals
from tndrl.node.trust import node_credentials, patterns, quic_settings
from tndrl.transport import descriptors
from tndrl.transport.codes import ErrorCode
from tndrl.transport.dialer import MuxDialer
from tndrl.transport.grpc_server import Register
from tndrl.transport.idempotent import idempotent_methods
from tndrl.transport.listener import MuxListener
from tndrl.transport.priority import Priority
from tndrl.transport.stateless_reset import ResetKey
from tndrl.transport.stream_type import validate_user_type

if TYPE_CHECKING:
    from a2a.server.agent_execution import AgentExecutor


logger = logging.getLogger("tndrl.node")

SETTLE_TIMEOUT = 0.5
"""Seconds for the last answers to leave, before connections are closed."""

SWITCH_INTERVAL = 0.0005
"""Seconds between thread switches: ten times Python's default keeps Ping waiting behind a busy handler."""


@dataclass(frozen=True)
class StopRequest:
    """How the node is to stop."""

    graceful: bool
    timeout: float
    """Seconds for running calls to finish."""
    reason: str


class Node:
    """Serves Control, an agent and the services added to it, to peers whose certificates it verifies.

    The agent is ``executor``, any of the a2a-sdk's, or else the provider of ``llm.provider``; without both there is
    none, and its streams are refused as any unknown type. Add services, then either ``await node.serve()`` or use it
    as an async context manager: inside, it is READY.
    """

    def __init__(self, config: Config | None = None, *, executor: AgentExecutor | None = None) -> None:
        self.config = config or load_config()
        self._machine = StateMachine(lambda state: logger.info("%s", state.name))
        self._services = Services(self.config, executor, self._tasks_changed)
        self._counting = threading.Lock()  # what is counted and what the state says of it change together
        self._started_at = time.monotonic()
        self._credentials: Credentials | None = None
        self._listener: MuxListener | None = None
        self._dialer: MuxDialer | None = None
        self._request: StopRequest | None = None
        self._asking = threading.Lock()  # so that of many requests to stop one is accepted
        self._wake = asyncio.Event()  # a stop was requested, or made harder
        self._stopped = asyncio.Event()
        self._drained = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        who = self.identity if self._credentials else "no identity yet"
        return f"<Node {who}, {self.state.name}, {self.active_tasks} tasks>"

    # What users do with it

    def add_service(
        self,
        stream_type: int,
        register: Register,
        *,
        max_message: int | None = None,
        idempotent: Iterable[str] = (),
        priority: Priority = Priority.MEDIUM,
    ) -> None:
        """Serve what ``register`` adds to a grpc.aio server, on streams of ``stream_type`` (0x10 to 0xef).

        The server runs on a thread and event loop of its own. ``max_message`` is in bytes, ``limits.message`` if None.
        ``idempotent`` are methods, written as ``/package.Service/Method``, that may run twice without harm: a call of
        one that comes with the first packets of a resumed connection is answered at once, every other when the
        handshake is confirmed.
        ``priority`` is the class that its answers are in: where the network is slow, lower ones wait for it.
        Raises UsageError for a type that is not free, one that is taken, and once the node has been started.
        """
        if self._runner is not None:
            raise UsageError("add services before the node is started")
        if validate_user_type(stream_type) in self._services.added:
            raise UsageError(f"stream type {stream_type:#04x} has a service already")
        self._services.added[stream_type] = Service(
            register,
            max_message or self.config.limits.message,
            priority,
            idempotent_methods(stream_type, idempotent),
        )

    async def serve(self) -> bool:
        """Start, serve until stopped, and return whether running calls could finish.

        SIGTERM and SIGINT stop it gracefully, a second one at once, if this is the main thread. Raises ConfigError.
        When cancelled it stops at once.
        """
        with StopSignals() as signals:
            signals.obeyed_by(self)
            async with self:
                return await self.wait_stopped()

    async def wait_stopped(self) -> bool:
        """Wait until the node has stopped, and return whether running calls could finish. Safe to cancel."""
        await self._stopped.wait()
        return self._drained

    async def stop(self, *, graceful: bool = True, timeout: float | None = None, reason: str = "") -> bool:
        """Stop, and return whether running calls could finish.

        Graceful: running calls have ``timeout`` seconds (``server.drainTimeout`` if None). Asked a second time
        without grace, it ends at once. Safe to cancel: the node stops all the same.
        """
        self._ask(StopRequest(graceful, self._limit(timeout), reason or "the node was stopped"))
        self._wake.set()
        return await self.wait_stopped()

    @asynccontextmanager
    async def connect(self, target: str) -> AsyncIterator[Peer]:
        """Connect to a peer over this node's own connections, which calls to the same peer share.

        Takes and raises what :func:`tndrl.connect` does.
        """
        if self._dialer is None:
            raise UsageError("the node is not running")
        yield await reach(self._dialer, resolve_target(target, self.config))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._runner = asyncio.create_task(self._run(ready), name="tndrl node")
        try:
            await asyncio.wait({self._runner, ready}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._runner.cancel()
            await asyncio.wait({self._runner})
            raise
        if self._runner.done():
            ready.cancel()
            self._runner.result()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        assert self._runner is not None
        self._ask(StopRequest(kind is None, self._limit(None), "the node was stopped"))
        self._wake.set()
        await self._runner

    # What it says of itself; also the Control service's view, from its own thread

    @property
    def identity(self) -> str:
        """The node's SPIFFE ID, from its certificate; raises UsageError before it is loaded."""
        if self._credentials is None:
            raise UsageError("the node has no identity before it is started")
        return str(self._credentials.spiffe_id)

    @property
    def address(self) -> str:
        """The bound address, ``host:port``; raises UsageError unless the node is running."""
        if self._listener is None:
            raise UsageError("the node is not running")
        return self._listener.address

    @property
    def state(self) -> NodeState:
        """Where the node stands in its life."""
        return self._machine.current

    @property
    def uptime(self) -> float:
        """Seconds since the node was made."""
        return time.monotonic() - self._started_at

    @property
    def active_tasks(self) -> int:
        """Calls of users' services and tasks of the agent that run now."""
        return self._services.running

    def stats(self) -> dict[str, int]:
        """Return every counter."""
        listener = self._listener.stats() if self._listener is not None else {}
        dialer = self._dialer.stats() if self._dialer is not None else {}
        return {
            **listener,
            **{f"dialer.{name}": value for name, value in dialer.items()},
            **self._services.stats(),
        }

    def metadata(self) -> Mapping[str, str]:
        """Return version, address and counters as text, for GetStatus."""
        about = {"version": __version__, "address": self.address}
        return {**about, **{name: str(value) for name, value in sorted(self.stats().items())}}

    def request_shutdown(self, *, graceful: bool, timeout: float | None, reason: str) -> str | None:
        """Begin to stop, or do not start at all; returns None if accepted, else why not.

        May be called from any thread once the node has been started, from the thread that starts it before.
        """
        refusal = self._ask(StopRequest(graceful, self._limit(timeout), reason))
        if self._loop is None:
            self._wake.set()
        else:
            self._loop.call_soon_threadsafe(self._wake.set)
        return refusal

    # private

    def _tasks_changed(self) -> None:
        """Called from the services' threads."""
        with self._counting:
            running = self.active_tasks
            self._machine.note_tasks(running)
        if running == 0 and self._request is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _state_path(self, credentials: Credentials) -> Path:
        return self.config.state_path(credentials.spiffe_id.path.rpartition("/")[2])

    def _limit(self, timeout: float | None) -> float:
        return self.config.server.drain_timeout if timeout is None else timeout

    def _ask(self, request: StopRequest) -> str | None:
        """Take a request to stop and return None, or why not: a later one counts only if it is harder."""
        with self._asking:
            current = self._request
            if current is not None and (request.graceful or not current.graceful):
                return f"the node is stopping already: {current.reason}"
            self._request = request
        return None

    async def _run(self, ready: asyncio.Future[None]) -> None:
        """Own everything the node has, from start to stop, in one task."""
        directory = Path(tempfile.mkdtemp(prefix="tndrl-"))
        try:
            self._credentials = await asyncio.to_thread(node_credentials, self.config)
            with StateDirectory(self._state_path(self._credentials)):
                await self._run_services(directory, self._credentials, ready)
        finally:
            shutil.rmtree(directory)
            if self.state in (NodeState.READY, NodeState.BUSY):
                self._machine.advance(NodeState.DRAINING)
            if self.state is not NodeState.STOPPED:
                self._machine.advance(NodeState.STOPPED)
            self._stopped.set()

    async def _run_services(
        self, directory: Path, credentials: Credentials, ready: asyncio.Future[None]
    ) -> None:
        config, settings = self.config, quic_settings(self.config)
        descriptors.raise_limit()
        address = parse_address(config.server.addr, listen=True)
        admins = patterns(config.control.admins) if config.control.admins is not None else ()
        if config.control.admins is None:
            admins = (IdPattern.parse(self.identity),)
        plane = ControlPlane(self, admins)
        dialer = dialer_of(config, credentials)
        listener = MuxListener(
            credentials,
            host=address.host,
            port=address.port,
            allow=patterns(config.server.allow or ()),
            type_timeout=config.transport.type_timeout,
            request_timeout=config.transport.request_timeout,
            settings=settings,
            reset_key=ResetKey(reset_secret(self._state_path(credentials))),
            on_peer=dialer.heard_of,
        )
        async with listener, dialer:
            self._listener, self._dialer = listener, dialer
            listener.hold()  # a caller must not find a node without its services
            try:
                await self._services.start(
                    listener, directory, plane, credentials.spiffe_id, self._state_path(credentials)
                )
                listener.accept()
                sys.setswitchinterval(min(SWITCH_INTERVAL, sys.getswitchinterval()))
                self._machine.advance(NodeState.READY)
                ready.set_result(None)
                await self._wake.wait()
                await self._shut_down(listener, plane)
            finally:
                await self._services.stop()
                self._listener = self._dialer = None

    async def _shut_down(self, listener: MuxListener, plane: ControlPlane) -> None:
        """Refuse what is new, let run what runs, and stop Control last: after it, only what must be cut is left."""
        assert self._request is not None
        reason, started = self._request.reason, time.monotonic()
        logger.info("stopping: %s", reason)
        self._machine.advance(NodeState.DRAINING)
        await self._services.refuse(listener, plane, f"the node is draining: {reason}")
        self._drained = await self._drain()
        endings = await self._services.end() if self._drained else set()
        endings |= await self._services.end_control(listener, f"the node shuts down: {reason}")
        left = started + self._request.timeout - time.monotonic() if self._drained else 0.0
        await listener.settle(max(SETTLE_TIMEOUT, left))
        # Before the services that were not drained, so that the calls it cuts fail with the reason.
        await listener.aclose(ErrorCode.SHUTDOWN, f"the node shuts down: {reason}")
        for ending in endings:
            ending.cancel()
        await self._services.stop()
        self._machine.advance(NodeState.STOPPED)

    async def _drain(self) -> bool:
        """Wait for running calls and tasks; returns whether all of them ended in time and undisturbed."""
        started = time.monotonic()
        while self.active_tasks:
            assert self._request is not None
            left = started + self._request.timeout - time.monotonic()
            if left <= 0 or not self._request.graceful:
                return False
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                continue
        return True
