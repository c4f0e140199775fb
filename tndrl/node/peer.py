"""Calling a peer: a verified connection, and ordinary gRPC channels on it."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from tndrl.config import Config, load_config, parse_address
from tndrl.errors import ConfigError, TndrlError
from tndrl.node.trust import load_credentials, quic_settings
from tndrl.transport.dialer import MuxDialer, Target
from tndrl.transport.priority import Priority
from tndrl.transport.tickets import MemoryTickets, TicketStore

if TYPE_CHECKING:
    import grpc.aio

    from tndrl.agent.client import AgentClient


RESTOCK = 1.0
"""Seconds that a caller with a ticket store of its own waits for tickets at the end."""


class Peer:
    """A node at the other end of a verified connection."""

    def __init__(self, dialer: MuxDialer, target: Target, identity: SpiffeId) -> None:
        self.address = str(target)
        self.identity = str(identity)
        self._dialer = dialer
        self._target = target

    def __repr__(self) -> str:
        return f"<Peer {self.identity} at {self.address}>"

    def channel(
        self,
        stream_type: int,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        idempotent: Iterable[str] = (),
        priority: Priority | None = None,
    ) -> grpc.aio.Channel:
        """Return a channel to the peer's services of ``stream_type``, for ordinary generated stubs.

        It lives on a QUIC stream of its own, connects with the first call and again after a loss. It belongs to
        the running event loop and closes with the peer. ``options`` (channel arguments) and ``interceptors`` are
        grpcio's. ``idempotent`` are methods, written as ``/package.Service/Method``, that may run twice without
        harm: their calls go out with the first packets of a resumed connection. Those of Control and A2A are known.
        ``priority`` is the class that what we send is in: where the network is slow, lower ones wait for it. None is
        CRITICAL for Control and MEDIUM for all others.
        """
        return self._dialer.channel(
            self._target,
            stream_type,
            options=options,
            interceptors=interceptors,
            idempotent=idempotent,
            priority=priority,
        )

    @asynccontextmanager
    async def agent(
        self, *, timeout: float = 30.0, resume_timeout: float = 30.0
    ) -> AsyncIterator[AgentClient]:
        """Find out how the peer's agent is spoken to, and yield a client of it on a channel of its own.

        ``timeout`` is in seconds, for each call but prompts and streams; ``resume_timeout`` is how many seconds a
        prompt whose connection was lost may go on without any progress.
        Raises NoAgentError where there is none, CardIdentityError where its card claims another identity than the
        certificate proves, AgentCallError, and the cause of a lost connection.
        """
        from tndrl.agent.client import open_agent  # loads the SDK, which no other call needs

        async with open_agent(
            self,
            call_timeout=timeout,
            resume_timeout=resume_timeout,
            max_answer=self._dialer.limits.agent_answer,
        ) as agent:
            yield agent

    async def confirmed(self) -> None:
        """Wait until the peer has verified us too; raises CertificateRefusedError if it refused. Safe to cancel."""
        session = await self._dialer.dial(self._target)
        await session.wait_confirmed()

    async def probe(self, timeout: float) -> None:
        """Make sure that the connection lives: a node that crashed says nothing.

        If it does not answer within ``timeout`` seconds the connection is given up, and its calls fail. Safe to cancel.
        """
        await self._dialer.probe(self._target, timeout)

    def stats(self) -> dict[str, int]:
        """Return every counter of the connections that this peer shares: all of a node's, or this one's alone."""
        return self._dialer.stats()

    @property
    def failure(self) -> TndrlError | None:
        """Why the connection failed or ended last; None while it lives."""
        return self._dialer.failure(self._target)


@asynccontextmanager
async def connect(
    target: str,
    *,
    config: Config | None = None,
    pki_dir: str | Path | None = None,
    timeout: float | None = None,
    tickets: TicketStore | None = None,
) -> AsyncIterator[Peer]:
    """Connect to ``target``, a name from ``peers`` or ``host:port``, and close when the block is left.

    ``pki_dir`` holds ``ca.crt``, ``tndrl.crt`` and ``tndrl.key``, for a script without ``config``. Waits at most
    ``timeout`` seconds (``transport.connectTimeout`` if None). Returns once the peer's certificate is verified; that
    the peer accepted ours is known a round trip later, see :meth:`Peer.confirmed`. Raises ConfigError, ConnectError
    and IdentityError.

    With a ticket of an earlier connection and ``transport.earlyData`` it returns at once: idempotent calls go out with
    the first packets, and what is wrong with the connection is raised by the first call, as for one that was there.
    ``tickets`` keeps them; this process does, if it is None. With a store that outlives the process the end of the
    block waits for new ones where the last was used, a round trip or :data:`RESTOCK` seconds.
    """
    if config is None:
        config = load_config(flags={} if pki_dir is None else {"pki.dir": str(pki_dir)})
    elif pki_dir is not None:
        raise ConfigError("give connect() either config or pki_dir, not both", key="pki.dir")
    whom = resolve_target(target, config)
    store = tickets if tickets is not None else _tickets_of_process(config.limits.tickets)
    async with dialer_of(config, load_credentials(config), timeout=timeout, tickets=store) as dialer:
        yield await reach(dialer, whom)
        if tickets is not None:
            await dialer.restock(whom, RESTOCK)


@functools.cache
def _tickets_of_process(limit: int) -> MemoryTickets:
    return MemoryTickets(limit)


def dialer_of(
    config: Config,
    credentials: Credentials,
    *,
    timeout: float | None = None,
    tickets: TicketStore | None = None,
) -> MuxDialer:
    """Return a dialer with the numbers of ``config``, or another connect timeout; ``tickets`` None: its own."""
    transport = config.transport
    return MuxDialer(
        credentials,
        connect_timeout=transport.connect_timeout if timeout is None else timeout,
        evict_after=transport.evict_after,
        reconnect_max=transport.reconnect_max,
        reconnect_for=transport.reconnect_for or math.inf,
        settings=quic_settings(config),
        tickets=tickets,
    )


async def reach(dialer: MuxDialer, target: Target) -> Peer:
    """Return the peer at ``target`` over a dialer's connection; raises as :func:`connect`."""
    session = await dialer.dial(target, early=True)
    assert session.peer_id is not None
    return Peer(dialer, target, session.peer_id)


def resolve_target(target: str, config: Config) -> Target:
    """Return whom ``target`` means: a peer of the configuration by its name, or an address. Raises ConfigError."""
    named = config.peer(target)
    if named is None and ":" not in target:
        known = ", ".join(peer.name for peer in config.peers) or "there are none"
        raise ConfigError(f"'{target}' is neither host:port nor a name from peers ({known})", key="peers")
    address = parse_address(named.addr if named is not None else target)
    identity = named.identity if named is not None else None
    return Target(address.host, address.port, SpiffeId.parse(identity) if identity else None)
