"""HPACK by hand (RFC 7541): header blocks that no encoder would write."""

from __future__ import annotations

from collections.abc import Iterable

from support.streams import frame


def integer(value: int, bits: int) -> bytes:
    """Return an integer with a prefix of so many bits (section 5.1)."""
    top = (1 << bits) - 1
    if value < top:
        return bytes([value])
    encoded, value = bytes([top]), value - top
    while value >= 0x80:
        encoded += bytes([value % 0x80 | 0x80])
        value //= 0x80
    return encoded + bytes([value])


def text(value: str) -> bytes:
    """Return a string without Huffman code (section 5.2)."""
    data = value.encode()
    return integer(len(data), 7) + data


def literal(name: str, value: str) -> bytes:
    """Return a field that is not indexed (section 6.2.2)."""
    return b"\0" + text(name) + text(value)


def remembered(name: str, value: str) -> bytes:
    """Return a field that is put into the dynamic table, as index 62 (section 6.2.1)."""
    return b"\x40" + text(name) + text(value)


def block(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a header block of fields that are not indexed."""
    return b"".join(literal(*field) for field in fields)


def headers(whole: bytes, stream: int, *, end: bool = False) -> bytes:
    """Return a header block as HEADERS and as many CONTINUATIONs as it takes."""
    parts = [whole[at : at + 16384] for at in range(0, len(whole), 16384)] or [b""]
    frames = b""
    for number, part in enumerate(parts):
        flags = (0x04 if part is parts[-1] else 0) | (int(end) if number == 0 else 0)
        frames += frame(0x09 if number else 0x01, flags, stream, part)
    return frames
