"""What aioquic is told of a connection."""

from __future__ import annotations

import ssl

import pytest

from support import streams
from tndrl.config import LimitsConfig
from tndrl.transport.quic_settings import ALPN, CONNECTION_ID_LENGTH, QuicSettings


@pytest.mark.parametrize("is_client", [True, False])
def test_a_configuration(is_client: bool) -> None:
    """Both roles have the settings' numbers, our protocol alone, and the chain that proves who we are."""
    limits = LimitsConfig(connection_window=1 << 21, stream_window=1 << 18)
    ours = streams.credentials("a")
    made = QuicSettings(idle_timeout=7.0, limits=limits).configuration(ours, is_client=is_client)
    assert (made.is_client, made.idle_timeout) == (is_client, 7.0)
    assert (made.max_data, made.max_stream_data) == (1 << 21, 1 << 18)
    assert (made.alpn_protocols, made.connection_id_length) == ([ALPN], CONNECTION_ID_LENGTH)
    assert (made.certificate, *made.certificate_chain) == ours.chain
    assert made.private_key is ours.private_key
    assert made.verify_mode == ssl.CERT_NONE  # the check is our own


def test_each_configuration_is_new() -> None:
    """What one connection is told of its peer's name is not told to the next."""
    settings, ours = QuicSettings(), streams.credentials("a")
    settings.configuration(ours, is_client=True).server_name = "first"
    assert settings.configuration(ours, is_client=True).server_name is None
