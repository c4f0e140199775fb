"""Many datagrams in one system call: which may leave together, and how those that came together are told apart.

Linux takes and gives equal datagrams of one address as one buffer (udp(7), UDP_SEGMENT and UDP_GRO). Other systems, and
Linux before 5.0, have neither.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tndrl.transport.source import Control

MAX_SEGMENTS = 64
"""Datagrams that one send may hold: UDP_MAX_SEGMENTS of every kernel that has it."""

MAX_BYTES = 65000
"""Bytes that one send may hold: an IP packet ends at 65,535, its headers included."""

# Linux's numbers, which Python's socket module does not name.
_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_U16 = struct.Struct("=H")
_INT = struct.Struct("=i")

Run = tuple[list[bytes], Any]
"""Datagrams to send with one call, and their address. All but the last are of one size, the last no larger."""


def ask_for_segments(sock: socket.socket) -> bool:
    """Have equal datagrams of one sender arrive as one buffer; returns whether the system has that."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    except OSError:
        return False
    return True


def segment_size(size: int) -> Control:
    """Return the control message that has one buffer leave as datagrams of ``size`` bytes."""
    return _SOL_UDP, _UDP_SEGMENT, _U16.pack(size)


def split(data: bytes, ancillary: Iterable[Control]) -> Sequence[bytes]:
    """Return the datagrams that came as one buffer."""
    for level, kind, value in ancillary:
        if level == _SOL_UDP and kind == _UDP_GRO:
            (size,) = _INT.unpack_from(value)
            if 0 < size < len(data):
                return [data[start : start + size] for start in range(0, len(data), size)]
    return (data,)


def runs(datagrams: Iterable[tuple[bytes, Any]]) -> Iterator[Run]:
    """Group datagrams, in order, into those that may leave with one call."""
    run: list[bytes] = []
    whither: Any = None
    size = total = 0
    for data, address in datagrams:
        length = len(data)
        fits = length <= size == len(run[-1]) if run else False
        if fits and address == whither and total + length <= MAX_BYTES and len(run) < MAX_SEGMENTS:
            run.append(data)
            total += length
            continue
        if run:
            yield run, whither
        run, whither, size, total = [data], address, length, length
    if run:
        yield run, whither
