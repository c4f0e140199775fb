"""The shortest way for short headers: it ends where aioquic's own way does, and is taken by nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from inspect import getsource, signature

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.quic.crypto import CryptoPair

from support import carried
from support.carried import Pair
from tndrl.transport._aioquic.receiving import ShortHeaders
from tndrl.transport.codes import TransportCode


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Yield a pair with an open stream, and nothing on its way."""
    async with carried.pair(monkeypatch) as made:
        yield made


@pytest.mark.parametrize("shortest", [True, False])
async def test_both_ways_end_alike(pair: Pair, monkeypatch: pytest.MonkeyPatch, shortest: bool) -> None:
    """What a packet changes is the same, whichever way it took."""
    if not shortest:
        monkeypatch.setattr(ShortHeaders, "_takes_shortest_way", lambda *_: False)
    space, receiver = pair.space, pair.receiver
    first = space.largest_received_packet + 1
    packets = [pair.packet(data=b"abc") for _ in range(3)]
    pair.now += 5
    for index, expected in ((0, [b"abc"]), (2, []), (2, []), (1, [b"abcabc"])):
        is_repeated = first + index in space.received_packets
        assert pair.deliver(packets[index]) == (is_repeated or not shortest)
        got = [event.data for event in iter(receiver.next_event, None)]
        assert got == expected
    assert space.largest_received_packet == first + 2
    assert space.largest_received_time == pair.now
    assert space.expected_packet_number in (first + 2, first + 3)
    assert list(space.ack_queue)[-1].stop == first + 3
    assert all(number in space.received_packets for number in range(first, first + 3))
    assert space.ack_at == pair.now + receiver._ack_delay
    assert receiver._close_at == pair.now + receiver._idle_timeout()
    assert not receiver._ack_eliciting_sent_since_receipt
    assert receiver._spin_highest_pn == first + 2


async def test_data_takes_the_shortest_way(pair: Pair) -> None:
    """A packet with stream data on the path in use is not asked what else it might be."""
    assert not pair.deliver(pair.packet(data=b"x"))


async def test_an_acknowledgement_is_not_acknowledged(pair: Pair) -> None:
    """A packet that elicits none sets no timer."""
    pair.receiver.send_stream_data(0, b"y")
    ((datagram, _addr),) = pair.receiver.datagrams_to_send(now=pair.now)
    pair.sender.receive_datagram(datagram, pair.sender._network_paths[0].addr, now=pair.now)
    pair.sender._to_acknowledge = 2
    assert not pair.deliver(pair.packet())
    assert pair.space.ack_at is None
    assert not pair.receiver._spaces[tls.Epoch.ONE_RTT].sent_packets


async def test_the_spin_bit_is_followed(pair: Pair) -> None:
    """A server reflects the bit (RFC 9000 section 17.4)."""
    for bit in (True, False, True):
        pair.sender._spin_bit = bit
        pair.deliver(pair.packet(data=b"x"))
        assert pair.receiver._spin_bit is bit


async def test_other_packets_take_the_long_way(pair: Pair) -> None:
    """Whatever is odd about a packet is aioquic's to judge, and changes nothing here."""
    datagram = pair.packet(data=b"x")
    assert not pair.deliver(datagram)
    stranger = ("127.0.0.1", 1)
    fresh = pair.packet(data=b"y")
    odd = {
        "duplicate": (datagram, None),
        "corrupt": (fresh[:-1] + bytes([fresh[-1] ^ 1]), None),
        "truncated": (fresh[:20], None),
        "no fixed bit": (bytes([fresh[0] & 0x3F]) + fresh[1:], None),
        "of another connection": (fresh[:1] + bytes(8) + fresh[9:], None),
        "empty": (b"", None),
    }
    for name, (data, address) in odd.items():
        assert pair.deliver(data, address), name
    assert [event.data for event in iter(pair.receiver.next_event, None)] == [b"x"]
    assert pair.deliver(fresh, stranger)
    assert len(pair.receiver._network_paths) == 2


async def test_reserved_bits_end_the_connection(pair: Pair) -> None:
    """Bits that must be zero are a PROTOCOL_VIOLATION (RFC 9000 section 17.3.1)."""
    crypto = pair.sender._cryptos[tls.Epoch.ONE_RTT]
    original = crypto.encrypt_packet
    crypto.encrypt_packet = lambda header, payload, number: original(
        bytes([header[0] | 0x08]) + header[1:], payload, number
    )
    assert pair.deliver(pair.packet(data=b"x"))
    assert pair.receiver._close_event.error_code == TransportCode.PROTOCOL_VIOLATION


async def test_a_frame_in_the_wrong_ends_the_connection(pair: Pair) -> None:
    """An error in the payload closes with its code, and nothing of the packet counts."""
    pair.sender._remote_max_stream_data_bidi_remote = pair.sender._remote_max_data = 1 << 40
    stream = pair.sender._streams[0]
    stream.max_stream_data_remote = 1 << 40
    stream.sender._buffer_start = stream.sender._buffer_stop = 1 << 30
    largest = pair.space.largest_received_packet
    assert not pair.deliver(pair.packet(data=b"x"))
    assert pair.receiver._close_event.error_code == TransportCode.FLOW_CONTROL_ERROR
    assert pair.space.largest_received_packet == largest
    assert pair.deliver(b"@") == 0  # and a closed connection reads nothing more


async def test_many_gaps_are_forgotten_from_the_oldest(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more ranges are kept than aioquic keeps."""
    monkeypatch.setattr("tndrl.transport._aioquic.receiving.MAX_ACK_RANGES", 2)
    packets = [pair.packet(data=b"x") for _ in range(7)]
    for packet in packets[::2]:
        pair.deliver(packet)
    assert len(pair.space.ack_queue) == 2


async def test_before_the_handshake_is_confirmed_all_take_the_long_way(pair: Pair) -> None:
    """Keys of 0-RTT may still be there, and must go with the next packet (RFC 9001 section 4.9.3)."""
    pair.receiver._handshake_confirmed = False
    assert pair.deliver(pair.packet(data=b"x"))
    pair.receiver._handshake_confirmed = True
    pair.receiver._one_rtt = None
    early = pair.receiver._cryptos[tls.Epoch.ZERO_RTT].recv
    early.aead = pair.receiver._cryptos[tls.Epoch.ONE_RTT].recv.aead
    assert pair.deliver(pair.packet(data=b"x"))
    assert not early.is_valid()
    assert not pair.deliver(pair.packet(data=b"x"))


# What aioquic must still have


def test_aioquic_receives_as_it_did() -> None:
    """The way that is shortened is the one that was read; when this fails, compare both and put in the new digest."""
    digest = hashlib.sha256(getsource(QuicConnection.receive_datagram).encode()).hexdigest()
    assert digest == "3c7f29826050cbfe326c3a05400792ce8757bd0be07a2f41b6b1562f22588278"


def test_aioquic_has_the_methods() -> None:
    """What is called takes the same arguments."""
    assert list(signature(QuicConnection.receive_datagram).parameters) == ["self", "data", "addr", "now"]
    assert list(signature(QuicConnection._payload_received).parameters) == [
        "self", "context", "plain", "crypto_frame_required"
    ]  # fmt: skip
    assert list(signature(CryptoPair.decrypt_packet).parameters) == [
        "self", "packet", "encrypted_offset", "expected_packet_number"
    ]  # fmt: skip
    assert list(signature(QuicReceiveContext).parameters) == [
        "epoch", "host_cid", "network_path", "quic_logger_frames", "time", "version"
    ]  # fmt: skip
