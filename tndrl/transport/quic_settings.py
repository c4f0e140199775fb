"""The numbers of QUIC connections, and what aioquic is told of them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from aioquic.quic.configuration import QuicConfiguration

from pki.credentials import Credentials
from tndrl.config import LimitsConfig
from tndrl.transport.tracing import TraceSettings
from tndrl.transport.version_negotiation import VERSIONS

ALPN = "tndrl"
CONNECTION_ID_LENGTH = 8


@dataclass(frozen=True)
class QuicSettings:
    """The numbers of a connection. Seconds and bytes."""

    idle_timeout: float = 60.0
    keepalive: float = 30.0
    handshake_timeout: float = 5.0
    max_datagram: int = 16383
    early_data: bool = True
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    trace: TraceSettings = field(default_factory=TraceSettings)

    def configuration(self, credentials: Credentials, *, is_client: bool) -> QuicConfiguration:
        """Return a new configuration for connections of either role, which proves who we are by ``credentials``."""
        configuration = QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            connection_id_length=CONNECTION_ID_LENGTH,
            supported_versions=list(VERSIONS),
            idle_timeout=self.idle_timeout,
            max_data=self.limits.connection_window,
            max_stream_data=self.limits.stream_window,
            verify_mode=ssl.CERT_NONE,  # aioquic's check is not enough, ours stands in _aioquic/tls.py
        )
        configuration.certificate = credentials.chain[0]
        configuration.certificate_chain = list(credentials.chain[1:])
        configuration.private_key = credentials.private_key
        return configuration
