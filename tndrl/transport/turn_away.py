"""Plays the gRPC server of a stream that no service takes: each call on it gets its status, and may come again."""

from __future__ import annotations

import base64
import struct
from urllib.parse import quote

from tndrl.transport.http2 import SETTINGS, frame, goaway
from tndrl.transport.refusal import Refusal
from tndrl.transport.stream import ByteStream

_HEADER = 9
_HEADERS, _SETTINGS, _PING = 0x01, 0x04, 0x06
_ACK = _END_STREAM = 0x01
_END_HEADERS = 0x04
_STATUS_200 = b"\x88"  # of the static table (RFC 7541 appendix A)
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


async def turn_away(client: ByteStream, refusal: Refusal) -> None:
    """Answer every call on a stream whose preface has been read with ``refusal``, until the client ends.

    After the first one GOAWAY asks for another connection; the acknowledgement of the PING behind it says that no
    call is on its way any more, and ends what we send. Waits for the client as long as it takes: bound it.
    """
    block = _trailers_only(refusal)
    farewell = goaway(refusal.reason) + frame(_PING, bytes(8))
    await client.send(SETTINGS)
    held = b""
    while data := await client.receive():
        held += data
        while len(held) >= _HEADER:
            kind, flags, number = struct.unpack(">3xBBI", held[:_HEADER])
            if kind == _SETTINGS and not flags & _ACK:
                await client.send(frame(_SETTINGS, b"", flags=_ACK))
            elif kind == _HEADERS:
                answer = frame(_HEADERS, block, flags=_END_STREAM | _END_HEADERS, stream=number)
                await client.send(answer + farewell)
                farewell = b""
            elif kind == _PING and flags & _ACK and not farewell:
                await client.send_eof()
            held = await _after(client, held, _HEADER + int.from_bytes(held[:3], "big"))
    await client.send_eof()


async def _after(client: ByteStream, held: bytes, size: int) -> bytes:
    """Return what follows the first ``size`` bytes, of which ``held`` have come."""
    while len(held) < size and (data := await client.receive()):
        size -= len(held)
        held = data
    return held[size:]


def _trailers_only(refusal: Refusal) -> bytes:
    """Return the header block of an answer that is nothing but a status (gRPC over HTTP/2, "Trailers-Only")."""
    fields = [
        ("content-type", "application/grpc"),
        ("grpc-status", str(refusal.code.value[0])),
        ("grpc-message", quote(refusal.reason, safe=_PRINTABLE)),
    ]
    fields += [(name, base64.b64encode(value).decode().rstrip("=")) for name, value in refusal.trailers()]
    return _STATUS_200 + b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    """Return a string literal without Huffman code (RFC 7541 section 5.2)."""
    data = text.encode()
    if len(data) < 0x7F:
        return bytes([len(data)]) + data
    rest, length = len(data) - 0x7F, b"\x7f"
    while rest >= 0x80:
        length += bytes([rest % 0x80 | 0x80])
        rest //= 0x80
    return length + bytes([rest]) + data
