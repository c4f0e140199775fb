"""A QUIC connection that authenticates both sides and tells what aioquic keeps to itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnectionState, QuicReceiveContext
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.stream import QuicStream

from pki.spiffe import SpiffeId
from pki.svid import SvidError
from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.ack_delay import DelayedAcks
from tndrl.transport._aioquic.acks import AckValidation
from tndrl.transport._aioquic.amplification import AntiAmplification
from tndrl.transport._aioquic.closing import ClosingPeriod
from tndrl.transport._aioquic.floods import FloodGuard
from tndrl.transport._aioquic.flow import FlowControl
from tndrl.transport._aioquic.frames import FrameChecks
from tndrl.transport._aioquic.handshake import HandshakeLimits
from tndrl.transport._aioquic.keys import KeyUpdates
from tndrl.transport._aioquic.logs import QuietLog
from tndrl.transport._aioquic.migration import Migration
from tndrl.transport._aioquic.new_path import NewPath
from tndrl.transport._aioquic.pacing import Pacing
from tndrl.transport._aioquic.parameters import ParameterChecks
from tndrl.transport._aioquic.path_mtu import PathMtuDiscovery, RoutePayload
from tndrl.transport._aioquic.priority import StreamPriorities
from tndrl.transport._aioquic.probes import PersistentProbes
from tndrl.transport._aioquic.resumption import NO_RESUMPTION, ResumingConnection, Resumption
from tndrl.transport._aioquic.sending import BulkPackets
from tndrl.transport._aioquic.silence import AskAfterSilence
from tndrl.transport._aioquic.small import SmallPackets
from tndrl.transport._aioquic.small_received import SmallReceived
from tndrl.transport._aioquic.stateless_reset import MakeToken, ResetTokens
from tndrl.transport._aioquic.tls import VerifyingContext
from tndrl.transport.identity import VerifyPeer

logger = logging.getLogger("tndrl.transport")


@dataclass(frozen=True)
class Close:
    """How a connection ended: what CONNECTION_CLOSE said, and who said it."""

    code: int
    application: bool
    reason: str
    remote: bool


class HandshakeConfirmed(QuicEvent):
    """Both sides know that the handshake is complete (RFC 9001 section 4.1.2)."""


@dataclass
class StreamOpened(QuicEvent):
    """The peer opened a stream, with or without sending anything on it (RFC 9000 section 2.1)."""

    stream_id: int


class AuthenticatedConnection(
    ClosingPeriod,
    SmallReceived,
    SmallPackets,
    ResumingConnection,
    FloodGuard,
    HandshakeLimits,
    AckValidation,
    FrameChecks,
    KeyUpdates,
    ParameterChecks,
    Migration,
    FlowControl,
    AskAfterSilence,
    PersistentProbes,
    NewPath,
    BulkPackets,
    StreamPriorities,
    DelayedAcks,
    PathMtuDiscovery,
    Pacing,
    ResetTokens,
    AntiAmplification,
):
    """A QUIC connection with a verified peer, or none at all.

    It never completes a handshake before ``verify_peer`` has returned the peer's identity.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        verify_peer: VerifyPeer,
        limits: LimitsConfig,
        max_datagram: int,
        route_payload: RoutePayload,
        make_token: MakeToken,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
        resumption: Resumption = NO_RESUMPTION,
    ) -> None:
        self._limits = limits  # before aioquic's own, which the base classes complete
        super().__init__(
            configuration=configuration,
            max_datagram=max_datagram,
            route_payload=route_payload,
            make_token=make_token,
            resumption=resumption,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._verify_peer = verify_peer
        self._logger = self._loss._logger = QuietLog(self.original_destination_connection_id)
        # Only clients open streams, and no stream is unidirectional: a peer that opens another one breaks the
        # limit and is closed with STREAM_LIMIT_ERROR (RFC 9000 section 4.6).
        bidirectional = 0 if configuration.is_client else limits.streams
        for limit, value in (
            (self._local_max_streams_bidi, bidirectional),
            (self._local_max_streams_uni, 0),
        ):
            limit.value = limit.sent = value

    @property
    def peer_id(self) -> SpiffeId | None:
        """The identity that the peer's certificate proved; None before that."""
        context = getattr(self, "tls", None)
        return context.peer_id if isinstance(context, VerifyingContext) else None

    @property
    def refusal(self) -> SvidError | None:
        """Why we refused the peer's certificate; None if we did not."""
        context = getattr(self, "tls", None)
        return context.refusal if isinstance(context, VerifyingContext) else None

    @property
    def handshake_step(self) -> object:
        """A value that changes with each step of the TLS handshake."""
        context = getattr(self, "tls", None)
        return context.state if isinstance(context, tls.Context) else None

    @property
    def has_path(self) -> bool:
        """Whether the peer's address is known: there is nothing to send before."""
        return bool(self._network_paths)

    @property
    def is_terminated(self) -> bool:
        """Whether the closing or draining period is over (RFC 9000 section 10.2)."""
        return self._state is QuicConnectionState.TERMINATED

    @property
    def close_info(self) -> Close | None:
        """How the connection ended, known as soon as either side has closed it; None while it lives.

        aioquic reports it only after the closing period, three probe timeouts later.
        """
        event: ConnectionTerminated | None = self._close_event
        if event is None:
            return None
        return Close(
            code=event.error_code,
            application=event.frame_type is None,
            reason=event.reason_phrase,
            remote=self._state is QuicConnectionState.DRAINING,
        )

    @property
    def is_idle_timeout(self) -> bool:
        """Whether the connection ended in silence (RFC 9000 section 10.1)."""
        event = self._close_event
        return (
            event is not None
            and self._state is QuicConnectionState.TERMINATED
            and event.error_code == QuicErrorCode.INTERNAL_ERROR
            and event.reason_phrase == "Idle timeout"
        )

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence after which the connection ends, as both sides agreed."""
        return float(self._idle_timeout())

    def end_trace(self) -> None:
        """Close the qlog trace of a connection that was given up, which aioquic does at the end of others."""
        traces, trace, self._quic_logger = self._configuration.quic_logger, self._quic_logger, None
        if traces is not None and trace is not None:
            traces.end_trace(trace)

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Handle one datagram. A fault in doing so closes this connection and touches nothing else."""
        if self._close_event is not None:
            self._note_late()
            return  # aioquic goes on with the handshake until its own close has been sent
        try:
            super().receive_datagram(data, addr, now)
        except Exception:
            logger.exception("fault while handling a datagram from %s; closing its connection", addr)
            self.close(
                error_code=QuicErrorCode.INTERNAL_ERROR,
                frame_type=QuicFrameType.PADDING,
                reason_phrase="internal error",
            )

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        VerifyingContext.adopt(self.tls, self._verify_peer, self._resumption)

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        assert isinstance(self.tls, VerifyingContext)
        self.tls.receive_epoch = context.epoch
        super()._handle_crypto_frame(context, frame_type, buf)

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        # aioquic tells of a stream with its first bytes only: one that never sends any would live unseen.
        first = self._local_max_streams_bidi.used
        stream = super()._get_or_create_stream(frame_type, stream_id)
        for index in range(first, self._local_max_streams_bidi.used):
            self._events.append(StreamOpened(stream_id=4 * index + int(self._is_client)))
        return stream

    def _confirm_handshake(self) -> None:
        super()._confirm_handshake()
        self._events.append(HandshakeConfirmed())
