"""Pacing: how much may leave at once, and that aioquic's own pacer still holds loops back."""

from __future__ import annotations

import pytest
from aioquic.quic.recovery import QuicPacketPacer

from support import streams
from tndrl.transport._aioquic.pacing import BURST, BurstPacer

SIZE = 1452


def burst(pacer: QuicPacketPacer, window: int, rtt: float) -> int:
    """Return how many bytes leave at once after a pause."""
    pacer.update_rate(window, rtt)
    pacer.update_bucket(now=1000.0)
    sent = 0
    while sent < window and pacer.next_send_time(now=1000.0) is None:
        pacer.update_after_send(now=1000.0)
        sent += SIZE
    return sent


@pytest.mark.parametrize(
    ("window", "rtt", "least", "most"),
    [
        (1_000_000, 0.001, 1_000_000, 1_001_000),  # a local network: the whole window
        (1_000_000, 0.020, 98_000, 104_000),  # 2 ms of 50 MB/s
        (100_000, 0.100, 20_000, 25_000),  # slow: as aioquic has it
    ],
)
def test_a_burst_is_what_a_timer_needs(window: int, rtt: float, least: int, most: int) -> None:
    """What leaves at once is 2 ms of the path's rate, or aioquic's 16 packets if that is more."""
    assert least <= burst(BurstPacer(max_datagram_size=SIZE), window, rtt) <= most


def test_aioquic_still_needs_it() -> None:
    """Aioquic lets 16 packets go, then waits for the time of one, which no timer can; once it does not, this can go."""
    pacer = QuicPacketPacer(max_datagram_size=SIZE)
    assert burst(pacer, 1_000_000, 0.001) <= 18 * SIZE
    assert pacer.next_send_time(now=1000.0) - 1000.0 < BURST / 100


async def test_connections_have_it() -> None:
    """Both sides of a connection are paced by it."""
    async with streams.connected() as quic:
        await quic.exchange()
        for session in (quic.client, quic.server):
            pacer = session._quic._loss._pacer
            assert isinstance(pacer, BurstPacer)
            assert pacer.bucket_max >= BURST
