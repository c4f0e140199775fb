"""What one input may cost, and how fast this machine is today."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import TypeVar

from aioquic.buffer import Buffer
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

Outcome = TypeVar("Outcome")

LIMIT = 1.0
"""Seconds of CPU that no input may take."""


def timed(call: Callable[[], Outcome], what: object) -> Outcome:
    """Return what ``call`` returns or raise what it raises, and check that it took no longer than an input may."""
    began = time.thread_time()
    try:
        return call()
    finally:
        took = time.thread_time() - began
        assert took <= LIMIT, f"{took:.2f} s of CPU for {what!r}"


def yardstick() -> float:
    """Return the CPU seconds of work like that of a handshake, in this process: a signature, keys, and much Python."""
    return min(_piece_of_work() for _ in range(10))


def _piece_of_work() -> float:
    began = time.thread_time()
    key = ec.generate_private_key(ec.SECP256R1())
    key.public_key().verify(
        key.sign(b"proof", ec.ECDSA(hashes.SHA256())), b"proof", ec.ECDSA(hashes.SHA256())
    )
    seen = {}
    for number in range(1_000):
        buffer = Buffer(capacity=64)
        buffer.push_uint_var(number)
        buffer.push_bytes(hmac.digest(buffer.data, b"label", hashlib.sha256))
        seen[buffer.data[:8]] = number
    return time.thread_time() - began
