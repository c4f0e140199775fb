"""An endpoint that also takes HTTP/3 clients, which is all that some peers of other makes can be."""

from __future__ import annotations

from typing import Any

import pytest
from aioquic.quic.configuration import QuicConfiguration

from pki.credentials import Credentials
from tndrl.transport import endpoint
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport.quic_settings import QuicSettings

UNIDIRECTIONAL = 3
"""Streams that a client of HTTP/3 opens for itself (RFC 9114 section 6.2)."""


class LenientConnection(AuthenticatedConnection):
    """Ours, and allows the unidirectional streams of HTTP/3."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        limit = self._local_max_streams_uni
        limit.value = limit.sent = UNIDIRECTIONAL


def offer_h3(patch: pytest.MonkeyPatch) -> None:
    """Have endpoints that are made from now on speak ``h3`` beside ``tndrl``."""
    plain = QuicSettings.configuration

    def configuration(self: QuicSettings, credentials: Credentials, *, is_client: bool) -> QuicConfiguration:
        made = plain(self, credentials, is_client=is_client)
        made.alpn_protocols = [*(made.alpn_protocols or ()), "h3"]
        return made

    patch.setattr(QuicSettings, "configuration", configuration)
    patch.setattr(endpoint, "AuthenticatedConnection", LenientConnection)
