"""Transport parameters that contradict themselves."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic.buffer import BufferReadError
from aioquic.quic.connection import QuicConnection

from rogue import messages
from rogue.peer import RogueServer
from rogue.script import Script
from support import certs, streams
from tndrl.transport._aioquic.parameters import ParameterChecks, contradiction
from tndrl.transport.codes import TransportCode

SOUND = bytes([4, 1, 9, 2, 16]) + bytes(16) + bytes([0x40, 0x39, 0])


def test_sound_parameters_pass() -> None:
    """Parameters in any order, known or not, contradict nothing when each is there once."""
    assert contradiction(SOUND) is None
    assert contradiction(b"") is None


@pytest.mark.parametrize("again", [bytes([4, 1, 8]), bytes([0x40, 0x39, 0]), bytes([0x40, 4, 1, 9])])
def test_a_parameter_is_there_once(again: bytes) -> None:
    """The same number twice, however it is written, is a contradiction (RFC 9000 section 7.4)."""
    assert "twice" in (contradiction(SOUND + again) or "")


def test_a_token_has_its_size() -> None:
    """A stateless reset token has 16 bytes (RFC 9000 section 18.2)."""
    assert contradiction(bytes([2, 15]) + bytes(15)) == "a stateless reset token of 15 bytes"


@pytest.mark.parametrize("size", range(1, len(SOUND)))
def test_what_is_cut_off_is_told(size: int) -> None:
    """Parameters that end early are read to their end or not at all."""
    try:
        assert contradiction(SOUND[:size]) is None
    except BufferReadError:
        pass
    else:
        assert size in (3, 21)


async def test_a_contradiction_closes_the_connection() -> None:
    """The peer receives TRANSPORT_PARAMETER_ERROR."""
    made = certs.node_leaf("rogue")
    edit = messages.server_parameters(lambda sound: [sound + bytes([4, 1, 9])])
    async with RogueServer(Script(chain=made.chain_der, key=made.key, edit=edit)) as rogue:
        with streams.dialling() as client:
            await streams.dial(client, rogue.transport.get_extra_info("sockname")).wait_closed()
        assert (await (await rogue.peer()).closed()).code == TransportCode.TRANSPORT_PARAMETER_ERROR


def test_aioquic_has_the_methods() -> None:
    """What is overridden exists in the base class with the same arguments."""
    parse = signature(QuicConnection._parse_transport_parameters).parameters
    assert list(parse) == ["self", "data", "from_session_ticket"]
    assert list(signature(QuicConnection._alpn_handler).parameters) == ["self", "alpn_protocol"]
    assert ParameterChecks._alpn_handler is not QuicConnection._alpn_handler
