"""The connections of a dialer: what its pool decides is carried out here."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from tndrl.errors import IdentityError, NoAnswerError, NoRouteError, TndrlError, UsageError
from tndrl.transport import addresses
from tndrl.transport.changes import Changes
from tndrl.transport.codes import ErrorCode
from tndrl.transport.early import EarlyGate
from tndrl.transport.endpoint import Endpoint
from tndrl.transport.failures import silence
from tndrl.transport.identity import ServerPolicy, server_name, unchanged
from tndrl.transport.liveness import DOUBT_TIMEOUT
from tndrl.transport.pool import Check, Dial, Pool, Refuse, Use
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session
from tndrl.transport.starts import Starts
from tndrl.transport.target import Target
from tndrl.transport.tickets import ClientTickets, Ticket
from tndrl.transport.udp import client_udp
from tndrl.transport.udp_options import departure

logger = logging.getLogger("tndrl.transport")

LAST_CHANCE = 0.5
"""Seconds that a silent connection has to answer when its peer answers on a new one."""


class Connections:
    """Makes, checks and closes connections. Its tasks belong to the group that it is opened with."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_timeout: float,
        evict_after: float,
        reconnect_max: float,
        reconnect_for: float,
        settings: QuicSettings,
        tickets: ClientTickets | None,
    ) -> None:
        self.pool: Pool[Session] = Pool(evict_after=evict_after, reconnect_max=reconnect_max)
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._reconnect_for = reconnect_for
        self._settings = settings
        self._tickets = tickets
        self._counters: Counter[str] = Counter()
        self._endpoints: dict[int, Endpoint] = {}  # by address family
        self._dialling: dict[Target, _Dialling] = {}
        self._changes = Changes()  # that are a reason to try again
        self._eviction: asyncio.TimerHandle | None = None
        self._starts = Starts()
        self._tasks: asyncio.TaskGroup | None = None

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin."""
        self._tasks = tasks

    def close(self) -> None:
        """Close every connection; whoever waits for one gets UsageError. The group ends what runs."""
        self._tasks = None
        self._changes.tell()
        for dialling in self._dialling.values():
            dialling.task.cancel()
        if self._eviction is not None:
            self._eviction.cancel()
        for endpoint in self._endpoints.values():
            endpoint.close(ErrorCode.NO_ERROR, "done")

    def rebind(self) -> None:
        """Move every connection to a fresh socket."""
        for family, endpoint in self._endpoints.items():
            endpoint.rebind(client_udp(family))

    def stats(self) -> dict[str, int]:
        """Return every counter."""
        total = Counter(self._counters)
        for endpoint in self._endpoints.values():
            total.update(endpoint.counters)
        sessions = self.pool.connections
        return {
            **total,
            "connections_open": sum(session.is_connected for session in sessions),
            "streams_open": sum(session.streams for session in sessions),
        }

    async def acquire(self, target: Target, *, streams: int = 1, early: EarlyGate | None = None) -> Session:
        """Return a verified connection to ``target`` on which so many streams can be opened; see ``MuxDialer.dial``.

        While the gate ``early`` is open it may be one that is being resumed.
        """
        while True:
            group, now = self._group(), asyncio.get_running_loop().time()
            match self.pool.acquire(target, now, streams=streams):
                case Use(session):
                    return session
                case Check(session):
                    if not await _answers(session, DOUBT_TIMEOUT):
                        self.pool.doubt(target, session, now)
                        group.create_task(self._hope(session), name=f"hope for {target}")
                case Refuse(error):
                    raise error
                case Dial():
                    session = await self._dialled(target, early)
                    if session.streams_left >= streams:
                        return session

    async def probe(self, target: Target, timeout: float) -> None:
        """Give up the connections to ``target`` that do not answer a PING within ``timeout`` seconds."""
        for session in self.pool.live(target):
            if not await _answers(session, timeout):
                session.abandon(silence(str(target), timeout))

    async def restock(self, target: Target, timeout: float) -> None:
        """Wait until there is a ticket for the next connection to ``target``, at most ``timeout`` seconds."""
        live = self.pool.live(target)
        if self._tickets is None or self._tickets.has(target) or not live:
            return
        with suppress(TimeoutError, TndrlError):
            async with asyncio.timeout(timeout):
                await live[-1].wait_confirmed()  # tickets come together with the confirmation

    def is_open(self, target: Target, *, waits: bool) -> bool:
        """Return whether a call to ``target`` may begin now, or must wait: see :class:`tndrl.transport.hold.Gate`."""
        match self.pool.acquire(target, asyncio.get_running_loop().time(), streams=0):
            case Use():
                return True
            case Check():
                return False
        return not waits

    async def opened(self, target: Target, *, waits: bool) -> bool:
        """Wait until a call to ``target`` may begin, and return whether a connection was made for it.

        One that ``waits`` does so for ``reconnect_for`` seconds or for ever, through pauses that grow; any other until
        one try has failed. The call then hears of it by itself. Safe to cancel.
        """
        loop, before = asyncio.get_running_loop(), self.pool.live(target)
        until = loop.time() + self._reconnect_for
        while True:
            try:
                return await self.acquire(target, streams=0) not in before
            except UsageError:
                raise
            except TndrlError:
                if not waits or loop.time() >= until:
                    return False
            await self._pause(target, until)

    def heard_of(self, identity: SpiffeId) -> None:
        """Let whoever waits for this identity try again at once."""
        self.pool.heard_of(identity)
        self._changes.tell()

    # private

    def _group(self) -> asyncio.TaskGroup:
        if self._tasks is None:
            raise UsageError("the dialer is closed, or was never entered with 'async with'")
        return self._tasks

    async def _hope(self, session: Session) -> None:
        """Let everybody who waits try again at once, should a connection that was silent answer after all."""
        with suppress(TndrlError):
            await session.ping()
            self._changes.tell()

    async def _pause(self, target: Target, until: float) -> None:
        """Wait until it is time for another try, at most ``until`` then, or there is a connection."""
        loop = asyncio.get_running_loop()
        while self._tasks is not None and not self.pool.is_reachable(target):
            left = min(until, self.pool.retry_at(target)) - loop.time()
            if left <= 0:
                return
            await self._changes.next(timeout=left)

    async def _dialled(self, target: Target, early: EarlyGate | None) -> Session:
        dialling = self._dialling.get(target)
        if dialling is None:
            resuming: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
            task = self._group().create_task(self._dial(target, resuming), name=f"dial {target}")
            dialling = self._dialling[target] = _Dialling(task, resuming)
            task.add_done_callback(lambda _task: self._dialling.pop(target, None))
        if early is not None and (session := await dialling.resumed()) is not None:
            if early.is_open:
                return session
            early.note_held()
        outcome = await asyncio.shield(dialling.task)
        if isinstance(outcome, TndrlError):
            raise outcome
        return outcome

    async def _dial(self, target: Target, resuming: asyncio.Future[Session]) -> Session | TndrlError:
        """Return the connection or the failure: a task of the group must not raise.

        ``resuming`` gets the connection before, if it can carry early data.
        """
        policy = ServerPolicy(self._credentials.bundle, target.host, target.expected)
        ticket = self._tickets.take(target, policy) if self._tickets is not None else None
        try:
            async with asyncio.timeout(self._connect_timeout):
                candidates = await addresses.resolve(target)
                if ticket is not None:
                    candidates.sort(key=lambda candidate: candidate[1] != ticket.address)
                async with self._starts.turn():
                    session = await addresses.race(
                        target,
                        candidates,
                        lambda candidate: self._handshake(target, candidate, policy, ticket, resuming),
                        _give_back,
                    )
        except TimeoutError:
            error: TndrlError = NoAnswerError(str(target), self._connect_timeout)
        except TndrlError as failure:
            error = failure
        else:
            for silent in self.pool.dialled(target, session):
                self._group().create_task(_last_chance(silent), name=f"last chance for {target}")
            self._evict()
            self.pool.heard_of(session.peer_id, target.host, target.port)
            self._changes.tell()
            return session
        self.pool.failed(target, error, asyncio.get_running_loop().time())
        self._evict()
        self._counters["handshakes_failed"] += 1
        if isinstance(error, IdentityError):
            self._counters["handshakes_refused"] += 1
            self._counters[f"handshakes_refused.{error.alert_name}"] += 1
        logger.warning("no connection to %s: %s", target, error)
        return error

    async def _handshake(
        self,
        target: Target,
        candidate: addresses.Candidate,
        policy: ServerPolicy,
        ticket: Ticket | None,
        resuming: asyncio.Future[Session],
    ) -> Session:
        family, address = candidate
        try:
            departure(address)
        except OSError as error:  # to wait for an answer would tell nobody more
            raise NoRouteError(str(target), error.strerror or str(error)) from error
        if ticket is not None and ticket.address != address:
            ticket = None  # issued by whoever answered there
        session = self._endpoint(family).connect(
            address,
            str(target),
            verify_peer=policy.verify if ticket is None else unchanged(policy.verify, ticket.identity),
            server_name=server_name(target.host),
            ticket=ticket,
            on_ticket=None if self._tickets is None else self._tickets.keeper(target, address),
        )
        if session.is_early and not resuming.done():
            resuming.set_result(session)
        try:
            await session.wait_connected()
        except asyncio.CancelledError:
            failure = NoAnswerError(str(target), self._connect_timeout)
            session.close(ErrorCode.NO_ERROR, "not needed", failure)
            session.abandon(failure)
            raise
        return session

    def _endpoint(self, family: int) -> Endpoint:
        if family not in self._endpoints:
            self._endpoints[family] = Endpoint(client_udp(family), self._credentials, self._settings)
        return self._endpoints[family]

    def _evict(self) -> None:
        """Close the connections that nobody has used for long, and come back when the next one may be due."""
        loop = asyncio.get_running_loop()
        idle, again_at = self.pool.evict(loop.time())
        for session in idle:
            self._counters["connections_evicted"] += 1
            session.close(ErrorCode.NO_ERROR, "idle")
        if self._eviction is not None:
            self._eviction.cancel()
        self._eviction = None if again_at is None else loop.call_at(again_at, self._evict)


@dataclass(frozen=True)
class _Dialling:
    """A connection that is being made."""

    task: asyncio.Task[Session | TndrlError]
    resuming: asyncio.Future[Session]
    """Gets it as soon as it can carry early data, if it can."""

    async def resumed(self) -> Session | None:
        """Wait until it can carry early data, or never will; return it if it can now. Safe to cancel."""
        either: set[asyncio.Future[Any]] = {self.task, self.resuming}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        session = self.resuming.result() if self.resuming.done() else None
        return session if session is not None and session.is_early else None


@dataclass(frozen=True)
class TargetGate:
    """The gate of the channels to one target."""

    connections: Connections
    target: Target

    @property
    def failure(self) -> TndrlError | None:
        """Why there is no connection."""
        return self.connections.pool.failure(self.target)

    def is_open(self, *, waits: bool) -> bool:
        """Return whether a call may begin now."""
        return self.connections.is_open(self.target, waits=waits)

    async def opened(self, *, waits: bool) -> bool:
        """Wait until a call may begin."""
        return await self.connections.opened(self.target, waits=waits)


async def _answers(session: Session, timeout: float) -> bool:
    """Return whether a connection answers a PING within ``timeout`` seconds, or has ended by itself meanwhile."""
    try:
        async with asyncio.timeout(timeout):
            await session.ping()
    except TimeoutError:
        return False
    except TndrlError:
        logger.debug("the connection to %s ended while it was probed", session.label)
    return True


async def _last_chance(session: Session) -> None:
    """Give up a connection that is still silent when the peer has been reached on another."""
    if not await _answers(session, LAST_CHANCE):
        session.abandon(silence(session.label, LAST_CHANCE))


def _give_back(session: Session) -> None:
    """Close a connection that another one has made superfluous."""
    session.close(ErrorCode.NO_ERROR, "not needed")
