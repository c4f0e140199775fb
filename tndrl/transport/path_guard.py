"""Refuses calls whose :path is no text: one such header ends a grpc.aio server, and with it everybody's calls.

grpcio (1.85.1) decodes the method of a call in the very task that accepts calls. Header blocks are read just far enough
to find each :path that is written out (RFC 7541); everything else passes as it is.
"""

from __future__ import annotations

from collections import deque

from tndrl.transport.codes import ErrorCode
from tndrl.transport.h2_guard import ViolationError

_HEADER = 9
_HEADERS, _CONTINUATION = 0x01, 0x09
_END_HEADERS, _PADDED, _PRIORITY = 0x04, 0x08, 0x20

_PATH = b":path"
_HUFFMAN_PATH = bytes.fromhex("b9 58 d3 3f")
_STATIC_PATHS = (4, 5)  # RFC 7541 appendix A
_STATIC_ENTRIES = 61
_MOST_ENTRIES = 128  # of 32 octets at least, in the table of 4,096 that grpcio's servers have

_LONG_CODE = "1" * 15
"""Begins the Huffman code of each octet above 0x7F (RFC 7541 appendix B), and appears in no name of a gRPC method."""


class PathGuard:
    """Watches what follows a client's preface, frame by frame."""

    def __init__(self) -> None:
        self._skip = 0  # bytes of a payload of no interest still to come
        self._held = bytearray()  # the beginning of a frame
        self._wanted = 0  # how much of it must be there before it is of any use
        self._block = b""  # fragments of a header block that is not complete
        self._are_paths: deque[bool] = deque(
            maxlen=_MOST_ENTRIES
        )  # of the dynamic table's names, the newest first

    def feed(self, data: bytes) -> None:
        """Look at received bytes; raises ViolationError before the last byte of a block that may not pass."""
        at = self._skip
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data = bytes(self._held)
            self._held.clear()
        self._wanted = _HEADER
        while len(data) - at >= _HEADER:
            length, kind = int.from_bytes(data[at : at + 3], "big"), data[at + 3]
            if kind in (_HEADERS, _CONTINUATION):
                if len(data) - at < _HEADER + length:
                    self._wanted = _HEADER + length
                    break
                self._add(kind, data[at + 4], data[at + _HEADER : at + _HEADER + length])
            at += _HEADER + length
        self._skip = max(0, at - len(data))
        self._held += data[at:]

    def _add(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _HEADERS:
            end = len(payload) - (payload[0] if flags & _PADDED and payload else 0)
            payload = payload[bool(flags & _PADDED) + 5 * bool(flags & _PRIORITY) : end]
        self._block += payload
        if flags & _END_HEADERS:
            block, self._block = self._block, b""
            try:
                self._check(block)
            except IndexError:
                raise ViolationError(ErrorCode.FRAME_INVALID, "a header block that cannot be read") from None

    def _check(self, block: bytes) -> None:
        at = 0
        while at < len(block):
            first = block[at]
            if first & 0x80:  # indexed: what was written out earlier
                _, at = _integer(block, at, 7)
            elif first & 0xE0 == 0x20:  # the table's new size
                _, at = _integer(block, at, 5)
            else:
                at = self._check_literal(block, at, indexed=bool(first & 0x40))

    def _check_literal(self, block: bytes, at: int, *, indexed: bool) -> int:
        index, at = _integer(block, at, 6 if indexed else 4)
        if index == 0:
            huffman, name, at = _string(block, at)
            is_path = name == (_HUFFMAN_PATH if huffman else _PATH)
        elif index <= _STATIC_ENTRIES:
            is_path = index in _STATIC_PATHS
        else:
            is_path = self._are_paths[index - _STATIC_ENTRIES - 1]
        huffman, value, at = _string(block, at)
        if is_path and not _is_text(value, huffman=huffman):
            raise ViolationError(ErrorCode.FRAME_INVALID, "a :path that is no text")
        if indexed:
            self._are_paths.appendleft(is_path)
        return at


def _is_text(value: bytes, *, huffman: bool) -> bool:
    if huffman:
        return _LONG_CODE not in f"{int.from_bytes(value, 'big'):b}"
    return value.isascii()


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Return an integer with a prefix of so many bits, and where it ends (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    if value < most:
        return value, at
    for shift in range(0, 28, 7):
        value += (block[at] & 0x7F) << shift
        at += 1
        if not block[at - 1] & 0x80:
            return value, at
    raise IndexError


def _string(block: bytes, at: int) -> tuple[bool, bytes, int]:
    """Return whether a string is Huffman-coded, its octets, and where it ends (RFC 7541 section 5.2)."""
    huffman = bool(block[at] & 0x80)
    length, at = _integer(block, at, 7)
    if at + length > len(block):
        raise IndexError
    return huffman, block[at : at + length], at + length
