"""One UDP socket and the QUIC connections on it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    pull_quic_header,
)

from pki.credentials import Credentials
from tndrl.errors import ConnectionClosedError, PortClosedError, StatelessResetError
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.first_packet import is_authentic
from tndrl.transport._aioquic.resumption import Resumption
from tndrl.transport.admission import Accept, Admission, Answer
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.identity import VerifyPeer
from tndrl.transport.quic_settings import CONNECTION_ID_LENGTH, QuicSettings
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.routes import Routes
from tndrl.transport.session import Session
from tndrl.transport.stateless_reset import ResetKey, StatelessResets, token_of
from tndrl.transport.tickets import IssuedTickets, Ticket
from tndrl.transport.tracing import Tracing
from tndrl.transport.turns import WAITING_FIRST, Receiver, Turns
from tndrl.transport.udp import Address, UdpSocket, format_address
from tndrl.transport.udp_options import own_address, route_payload
from tndrl.transport.version_negotiation import VERSIONS, destination_of, negotiate, version_of

SHORT_HEADER = 0x40
"""The first two bits of a packet after the handshake (RFC 9000 section 17.3)."""


@dataclass(frozen=True)
class ServerCallbacks:
    """What an endpoint that accepts connections tells its owner. None may raise."""

    verify_peer: VerifyPeer
    on_stream: Callable[[QuicStream], None]
    on_confirmed: Callable[[Session], None]
    on_closed: Callable[[Session], None]
    tickets: IssuedTickets | None = None
    """Those that it has issued; None: it issues none and resumes nothing."""


class _Newcomers:
    """All that have no connection yet. They are served in turns like one peer, so a flood of them is before none."""

    most_waiting = WAITING_FIRST

    def __init__(self, meet: Callable[[bytes, Address], None]) -> None:
        self.receive_datagram = meet

    def react(self) -> None:
        """Do nothing: each has its answer, or is a peer of its own from now on."""


class Endpoint:
    """Sends and receives for all sessions of one UDP socket; accepts new ones if it has ``server`` callbacks."""

    def __init__(
        self,
        sock: socket.socket,
        credentials: Credentials,
        settings: QuicSettings,
        *,
        server: ServerCallbacks | None = None,
        offload: bool = True,
        reset_key: ResetKey | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._credentials = credentials
        self._settings = settings
        self._server = server
        try:
            self._tracing = Tracing(settings.trace)
        except BaseException:
            sock.close()
            raise
        # One for all that are accepted.
        self._server_configuration = settings.configuration(credentials, is_client=False)
        self._tracing.apply(self._server_configuration)
        self._resumption = Resumption(
            issued=server.tickets if server else None, early_data=settings.early_data
        )
        self.is_accepting = server is not None
        self._routes: Routes[Session] = Routes()
        self._reset_key = reset_key or ResetKey()
        self._resets = StatelessResets(self._reset_key)
        self._admission: Admission[object] = Admission(settings.limits, asyncio.get_running_loop().time())
        self._junk: dict[object, asyncio.TimerHandle] = {}  # what stands for handshakes that were none
        self._turns = Turns()
        self._newcomers = _Newcomers(self._meet)
        self._next_turn: asyncio.Handle | None = None
        self._sources: dict[Session, str | None] = {}  # the own address that leads to those that we dialled
        self._offload = offload
        self._udp = self._own(sock)

    @property
    def address(self) -> Address:
        """The bound address."""
        return self._udp.address

    @property
    def half_open(self) -> int:
        """How many handshakes of clients are under way."""
        return self._admission.half_open

    @property
    def sessions(self) -> set[Session]:
        """Every session, those in their closing period included."""
        return set(self._routes.sessions)

    def connect(
        self,
        address: Address,
        label: str,
        *,
        verify_peer: VerifyPeer,
        server_name: str | None,
        ticket: Ticket | None = None,
        on_ticket: Callable[[Ticket], None] | None = None,
    ) -> Session:
        """Begin a handshake with the node at ``address`` and return the session, not yet connected.

        With a ``ticket``, whose certificates have just been verified again, it resumes; ``on_ticket`` takes new ones.
        """
        configuration = self._settings.configuration(self._credentials, is_client=True)
        configuration.server_name = server_name
        self._tracing.apply(configuration)
        resumption = Resumption(
            offer=ticket, keep=on_ticket, early_data=self._settings.early_data, counters=self.counters
        )
        AuthenticatedConnection.offer(configuration, resumption)
        quic = AuthenticatedConnection(
            configuration=configuration,
            verify_peer=verify_peer,
            resumption=resumption,
            **self._connection_options(),
        )
        session = Session(quic, self, address, label, keepalive=self._settings.keepalive)
        self._sources[session] = own_address(address)
        self.register(quic.host_cid, session)
        quic.connect(address, now=asyncio.get_running_loop().time())
        if ticket is not None and quic.is_early:
            session.peer_id = ticket.identity  # whoever else is there cannot read what it is sent
        session.flush()
        return session

    def rebind(self, sock: socket.socket) -> None:
        """Go on with another socket, to which all sessions that we dialled migrate (RFC 9000 section 9)."""
        before, self._udp = self._udp, self._own(sock)
        before.close()
        for session in self.sessions:
            session.migrate(new_host=False)

    def close(self, code: int = ErrorCode.NO_ERROR, reason: str = "") -> None:
        """Close every session with ``code`` and ``reason``, then the socket."""
        for session in self.sessions:
            session.close(code, reason)
            session.abandon(
                ConnectionClosedError(
                    session.label,
                    code=code,
                    code_name=code_name(code, application=True),
                    application=True,
                    remote=False,
                    reason=reason,
                )
            )
        if self._next_turn is not None:
            self._next_turn.cancel()
        for junk in tuple(self._junk):
            self._forget_junk(junk)
        self._udp.close()
        self._tracing.close()

    # What sessions call

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram."""
        self.counters["datagrams_sent"] += 1
        self.counters["bytes_sent"] += len(data)
        self._udp.send(data, address)

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send datagrams in order, with as few system calls as the system allows."""
        self.counters["datagrams_sent"] += len(datagrams)
        self.counters["bytes_sent"] += sum(len(data) for data, _address in datagrams)
        self._udp.send_all(datagrams)

    def register(self, connection_id: bytes, session: Session) -> None:
        """Route datagrams with this connection ID to ``session``."""
        self._routes.add(connection_id, session)

    def unregister(self, connection_id: bytes) -> None:
        """Stop routing a retired connection ID."""
        self._routes.remove(connection_id)

    def expect_reset(self, token: bytes, session: Session) -> None:
        """Know by this token that the peer of ``session`` has forgotten it."""
        self._routes.expect(token, session)

    def discard(self, session: Session) -> None:
        """Forget a session that is over."""
        self._routes.forget(session)
        self._turns.drop(session)
        self._sources.pop(session, None)

    def unanswered(self, session: Session) -> None:
        """Let a session migrate whose datagrams leave from another address of ours than before.

        The socket is bound to none, so the system has chosen another by itself: an interface is gone, or is new.
        """
        if session in self._sources and (source := own_address(session.address)) is not None:
            before, self._sources[session] = self._sources[session], source
            if before not in (None, source):
                self.counters["migrations"] += 1
                session.migrate(new_host=True)

    # private

    def _own(self, sock: socket.socket) -> UdpSocket:
        return UdpSocket(
            sock,
            on_datagram=self._receive,
            on_batch=self._take_turn,
            on_port_closed=self._port_closed,
            answer_from_destination=self._server is not None,
            offload=self._offload,
        )

    def _connection_options(self) -> dict[str, Any]:
        return {
            "limits": self._settings.limits,
            "max_datagram": min(self._settings.max_datagram, self._udp.largest),
            "route_payload": route_payload,
            "make_token": self._reset_key.token,
        }

    def _receive(self, data: bytes, address: Address) -> None:
        self.counters["datagrams_received"] += 1
        self.counters["bytes_received"] += len(data)
        if data and data[0] & 0xC0 == SHORT_HEADER:  # nearly every one, and all that is of interest is its ID
            connection_id = data[1 : 1 + CONNECTION_ID_LENGTH]
            session = self._routes.of(connection_id)
            if session is None:
                self._answer_unknown(connection_id, data, address)
        else:
            session = self._routes.of(destination_of(data)) if version_of(data) in VERSIONS else None
            if session is None and self._server is not None:
                self._queue(self._newcomers, data, address)
                return
        self._pass_on(session, data, address)

    def _meet(self, data: bytes, address: Address) -> None:
        self._pass_on(self._session_of_long_header(data, address), data, address)

    def _pass_on(self, session: Session | None, data: bytes, address: Address) -> None:
        if session is None:
            self.counters["datagrams_dropped"] += 1
        else:
            self._queue(session, data, address)

    def _session_of_long_header(self, data: bytes, address: Address) -> Session | None:
        if (version := version_of(data)) not in VERSIONS:
            if version and (answer := negotiate(data)) is not None:
                self.counters["version_negotiations_sent"] += 1
                self.send(answer, address)
            return None
        buffer = Buffer(data=data)
        try:
            header = pull_quic_header(buffer, host_cid_length=CONNECTION_ID_LENGTH)
        except ValueError:
            return None
        return self._routes.of(header.destination_cid) or self._accept(header, data, buffer.tell(), address)

    def _answer_unknown(self, connection_id: bytes, data: bytes, address: Address) -> None:
        """Take a packet of no connection for a reset of ours, or reset that of the peer (RFC 9000 section 10.3)."""
        token = token_of(data)
        session = None if token is None else self._routes.reset_by(token)
        if session is not None and session.address[:2] == address[:2]:
            self.counters["stateless_resets_received"] += 1
            session.abandon(StatelessResetError(session.label))
            return
        now = asyncio.get_running_loop().time()
        if answer := self._resets.answer(connection_id, len(data), address[0], now):
            self.counters["stateless_resets_sent"] += 1
            self.send(answer, address)

    def _accept(self, header: QuicHeader, data: bytes, payload: int, address: Address) -> Session | None:
        if self._server is None or not self.is_accepting or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            return None
        if header.packet_type is not QuicPacketType.INITIAL:
            return None
        verdict = self._admission.decide(header, address, asyncio.get_running_loop().time())
        if isinstance(verdict, Accept):
            if isinstance(verdict.instead_of, Session):
                verdict.instead_of.refuse("there are too many handshakes at once (limits.halfOpen)")
            elif verdict.instead_of is not None:
                self._forget_junk(verdict.instead_of)
            if is_authentic(header, data, payload):
                return self._new_server_session(self._server, header, verdict, address)
            self._note_junk(address)
            return None
        self.counters[verdict.counter] += 1
        if isinstance(verdict, Answer):
            self.send(verdict.datagram, address)
        return None

    def _note_junk(self, address: Address) -> None:
        """Let junk count as a handshake as long as one may be silent: a flood of it has to ask clients for a token."""
        self.counters["initials_junk"] += 1
        junk = object()
        self._admission.began(junk, address[0])
        self._junk[junk] = asyncio.get_running_loop().call_later(
            self._settings.handshake_timeout, self._forget_junk, junk
        )

    def _forget_junk(self, junk: object) -> None:
        self._admission.ended(junk)
        self._junk.pop(junk).cancel()

    def _new_server_session(
        self, server: ServerCallbacks, header: QuicHeader, accepted: Accept[object], address: Address
    ) -> Session:
        quic = AuthenticatedConnection(
            configuration=self._server_configuration,
            verify_peer=server.verify_peer,
            resumption=self._resumption,
            **self._connection_options(),
            original_destination_connection_id=accepted.original_destination,
            retry_source_connection_id=accepted.retry_source,
        )
        session = Session(
            quic,
            self,
            address,
            format_address(address),
            keepalive=self._settings.keepalive,
            handshake_timeout=self._settings.handshake_timeout,
            on_stream=server.on_stream,
            on_confirmed=self._handle_confirmed,
            on_closed=self._handle_closed,
        )
        self._admission.began(session, address[0])
        self.register(header.destination_cid, session)
        self.register(quic.host_cid, session)
        return session

    def _handle_confirmed(self, session: Session) -> None:
        assert self._server is not None
        self._admission.confirmed(session)
        self._server.on_confirmed(session)

    def _handle_closed(self, session: Session) -> None:
        assert self._server is not None
        self._admission.ended(session)
        self._server.on_closed(session)

    def _queue(self, receiver: Receiver, data: bytes, address: Address) -> None:
        if not self._turns.add(receiver, data, address):
            self.counters["datagrams_dropped"] += 1

    def _take_turn(self) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
        more = self._turns.take()
        self._next_turn = asyncio.get_running_loop().call_soon(self._take_turn) if more else None

    def _port_closed(self, address: Address) -> None:
        """A host said that nobody listens there."""
        if self._server is not None:
            return  # clients come and go; their own timeouts end what they leave behind
        for session in self.sessions:
            if session.address[:2] == address[:2]:
                failure = PortClosedError(session.label)
                if session.is_connected:
                    session.liveness.doubt(failure)
                else:
                    session.abandon(failure)
