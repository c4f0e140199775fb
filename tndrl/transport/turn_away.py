"""Plays the gRPC server of a stream that no service takes: each call on it gets its status, and may come again."""

from __future__ import annotations

import base64
from urllib.parse import quote

from tndrl.transport.http2 import SETTINGS, FrameHeads, frame, goaway
from tndrl.transport.refusal import Refusal
from tndrl.transport.stream import ByteStream

_HEADERS, _SETTINGS, _PING = 0x01, 0x04, 0x06
_ACK = _END_STREAM = 0x01
_END_HEADERS = 0x04
_STATUS_200 = b"\x88"  # of the static table (RFC 7541 appendix A)
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


async def turn_away(client: ByteStream, refusal: Refusal, *, seen: FrameHeads | None = None) -> None:
    """Answer every call on a stream with ``refusal``, until the client ends.

    ``seen`` is what has come of a client that was sent SETTINGS; without it, the preface has been read and no more.
    After the first call GOAWAY asks for another connection; the acknowledgement of the PING behind it says that no
    call is on its way any more, and ends what we send. Waits for the client as long as it takes: bound it.
    """
    if seen is None:
        seen = FrameHeads()
        await client.send(SETTINGS)
    block = _trailers_only(refusal)
    farewell = goaway(refusal.reason) + frame(_PING, bytes(8))
    while True:
        for head in seen.take():
            if head.kind == _SETTINGS and not head.flags & _ACK:
                await client.send(frame(_SETTINGS, b"", flags=_ACK))
            elif head.kind == _HEADERS:
                answer = frame(_HEADERS, block, flags=_END_STREAM | _END_HEADERS, stream=head.stream)
                await client.send(answer + farewell)
                farewell = b""
            elif head.kind == _PING and head.flags & _ACK and not farewell:
                await client.send_eof()
        if not (data := await client.receive()):
            break
        seen.feed(data)
    await client.send_eof()


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
