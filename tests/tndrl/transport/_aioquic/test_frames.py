"""Frames that contradict themselves."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicConnectionError

from rogue import frames
from tndrl.transport._aioquic.frames import FrameChecks
from tndrl.transport.codes import TransportCode

BAD = {
    "retires itself": ("_handle_new_connection_id_frame", frames.NEW_CONNECTION_ID, (3, 4)),
    "empty token": ("_handle_new_token_frame", frames.NEW_TOKEN, (0,)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_frame_that_contradicts_itself_is_an_encoding_error(name: str) -> None:
    """The code is that of RFC 9000 section 19."""
    method, kind, fields = BAD[name]
    connection = FrameChecks.__new__(FrameChecks)
    connection._is_client = True
    with pytest.raises(QuicConnectionError) as raised:
        getattr(connection, method)(None, kind, Buffer(data=frames.frame(kind, *fields)[1:]))
    assert (raised.value.error_code, raised.value.frame_type) == (TransportCode.FRAME_ENCODING_ERROR, kind)


@pytest.mark.parametrize("name", ["_handle_new_connection_id_frame", "_handle_new_token_frame"])
def test_aioquic_has_the_handler(name: str) -> None:
    """A handler that is overridden exists in the base class with the same arguments."""
    assert list(signature(getattr(QuicConnection, name)).parameters) == [
        "self",
        "context",
        "frame_type",
        "buf",
    ]
