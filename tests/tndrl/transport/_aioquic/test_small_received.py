"""The shortest way for what calls bring: it ends where aioquic's own way does, and takes nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from inspect import getsource
from random import Random
from typing import Any

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnection
from aioquic.quic.recovery import QuicPacketRecovery
from aioquic.quic.stream import QuicStreamReceiver

from support import carried
from support.carried import Pair
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.silence import ANSWER
from tndrl.transport._aioquic.small_received import Small, SmallReceived, parse
from tndrl.transport.codes import TransportCode


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Yield a pair with an open stream, and nothing on its way."""
    async with carried.pair(monkeypatch) as made:
        yield made


class Taken:
    """Counts the packets that took the shortest way, and those that did not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, never: bool = False) -> None:
        self.short = self.long = 0
        original = SmallReceived._take_small

        def take(connection: SmallReceived, small: Small, now: float) -> bool:
            taken = not never and original(connection, small, now)
            self.short += taken
            self.long += not taken
            return taken

        monkeypatch.setattr(SmallReceived, "_take_small", take)


def numbers(*values: int) -> bytes:
    """Return variable-length integers."""
    return b"".join(map(encode_uint_var, values))


ACK = numbers(2, 9, 7, 0, 3)
DATA = numbers(0x0E, 4, 100, 3) + b"abc"


@pytest.mark.parametrize(
    ("payload", "small"),
    [
        (ACK, Small(1, 6, 9, 7)),
        (DATA, Small(1, stream_id=4, offset=100, data=b"abc")),
        (ACK + DATA, Small(2, 6, 9, 7, 4, 100, b"abc")),
        (numbers(0x08, 0) + b"rest", Small(1, stream_id=0, data=b"rest")),
    ],
    ids=["ACK", "data", "both", "to the end"],
)
def test_what_calls_bring_is_read(payload: bytes, small: Small) -> None:
    """An ACK of one range, data that is not its stream's last, or the one before the other."""
    assert parse(payload) == small


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0" + DATA,
        DATA + b"\0",
        DATA + ACK,
        DATA + DATA,
        ACK + ACK,
        numbers(2, 9, 7, 1, 3, 0, 1),
        numbers(3, 9, 7, 0, 3, 0, 0, 0),
        numbers(2, 9, 7, 0, 10),
        numbers(0x0F, 4, 100, 3) + b"abc",
        numbers(0x0E, 4, 100, 0),
        numbers(0x0E, 4, 100, 9) + b"abc",
        numbers(1),
        ACK[:-1],
    ],
)
def test_anything_else_is_left_to_aioquic(payload: bytes) -> None:
    """Other frames, more of them, the end of a stream, and whatever breaks off."""
    assert parse(payload) is None


def test_any_bytes_can_be_read() -> None:
    """Nothing escapes from payloads that somebody has bent (10,000 of them)."""
    dice = Random(5)
    for _ in range(10_000):
        payload = bytearray(ACK + DATA)
        for _ in range(dice.randrange(4)):
            payload[dice.randrange(len(payload))] = dice.randrange(256)
        parse(bytes(payload[: dice.randrange(len(payload) + 1)]))


def state(connection: AuthenticatedConnection) -> dict[str, Any]:
    """Return what a packet of a call changes."""
    loss, stream = connection._loss, connection._streams[0]
    space = loss.spaces[-1]
    return {
        "sent": list(space.sent_packets),
        "in flight": (loss.bytes_in_flight, space.ack_eliciting_in_flight),
        "window": loss.congestion_window,
        "acknowledged": (space.largest_acked_packet, space.loss_time, loss._pto_count),
        "round trip": (round(loss._rtt_latest, 9), round(loss._rtt_min, 9), round(loss._rtt_smoothed, 9)),
        "rate": loss._pacer.packet_time,
        "unacknowledged": (len(stream.sender._buffer), stream.sender._buffer_start),
        "received": (stream.receiver.highest_offset, stream.receiver._buffer_start),
        "credit": connection._local_max_data.used,
        "to acknowledge": (connection._to_acknowledge, space.ack_at),
        "frames": connection._frames,
        "asks": connection._ask_at,
    }


@pytest.mark.parametrize("shortest", [True, False])
async def test_both_ways_end_alike(pair: Pair, monkeypatch: pytest.MonkeyPatch, shortest: bool) -> None:
    """What a call changes is the same at both ends, whichever way its packets took."""
    taken = Taken(monkeypatch, never=not shortest)
    ends, address = (pair.sender, pair.receiver), pair.receiver.get_peer_address()
    before = [state(end) for end in ends]
    told = []
    for number in range(5):
        for near, far in (ends, ends[::-1]):
            pair.now += 0.01
            near.send_stream_data(0, bytes([number]) * 100)
            ((datagram, _addr),) = near.datagrams_to_send(now=pair.now)
            pair.now += 0.02
            far.receive_datagram(
                datagram, address if far is pair.receiver else far._network_paths[0].addr, now=pair.now
            )
            told += [event.data for event in iter(far.next_event, None)]
    assert told == [bytes([number]) * 100 for number in range(5) for _ in range(2)]
    assert taken.short == (9 if shortest else 0)  # aioquic makes what the first data of a stream goes to
    for end, was in zip(ends, before, strict=True):
        now = state(end)
        assert now["received"] == (was["received"][0] + 500,) * 2
        assert now["credit"] == was["credit"] + 500
        assert now["frames"] - was["frames"] in (9, 10)  # there was nothing to acknowledge at first
        assert now["acknowledged"][1:] == (None, 0)
        assert len(now["sent"]) == (0 if end is pair.sender else 1)
        assert now["unacknowledged"][0] == (0 if end is pair.sender else 100)
        assert now["round trip"][0] == pytest.approx(0.05, abs=0.03)
    asks_in = state(pair.sender)["asks"] - pair.now
    assert asks_in == pytest.approx(ANSWER + pair.sender._loss._rtt_smoothed, abs=0.02)


async def deliver(pair: Pair, *, skip: int = 0) -> None:
    """Send a hundred bytes to the receiver, after as many packets that are lost."""
    for _ in range(skip):
        pair.packet(data=b"lost")
    pair.deliver(pair.packet(data=bytes(100)))


async def test_a_gap_takes_the_long_way(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that does not come next waits for what is missing."""
    taken = Taken(monkeypatch)
    await deliver(pair, skip=1)
    assert (taken.short, taken.long) == (0, 1)
    assert list(iter(pair.receiver.next_event, None)) == []


@pytest.mark.parametrize("whose", ["stream", "connection"])
async def test_credit_is_checked(pair: Pair, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """More than was granted ends the connection, as ever (RFC 9000 section 4.1)."""
    await deliver(pair)
    taken = Taken(monkeypatch)
    stream = pair.receiver._streams[0]
    if whose == "stream":
        stream.max_stream_data_local = stream.receiver.highest_offset + 99
    else:
        pair.receiver._local_max_data.value = pair.receiver._local_max_data.used + 99
    await deliver(pair)
    assert (taken.short, taken.long) == (0, 1)
    assert pair.receiver._close_event.error_code == TransportCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("number", ["unsent", "left out"])
async def test_acknowledgements_are_checked(pair: Pair, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """An ACK of what was never sent ends the connection, as ever (RFC 9000 sections 13.1 and 21.4)."""
    taken = Taken(monkeypatch)
    receiver = pair.receiver
    high = receiver._packet_number + 5 if number == "unsent" else receiver._packet_number - 1
    if number == "left out":
        receiver._skipped.numbers.append(high)
    receiver._take_payload(numbers(2, high, 0, 0, 0), pair.now)
    assert (taken.short, taken.long) == (0, 1)
    assert receiver._close_event.error_code == TransportCode.PROTOCOL_VIOLATION


async def test_what_was_passed_over_may_be_lost(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ACK that leaves an older packet out is aioquic's, which looks for losses."""
    taken = Taken(monkeypatch)
    first = pair.sender._packet_number
    packets = [pair.packet(data=b"x") for _ in range(5)]
    assert len(packets) == 5
    pair.sender._take_payload(numbers(2, first + 4, 0, 0, 0), pair.now)
    assert (taken.short, taken.long) == (0, 1)
    assert first not in pair.sender._loss.spaces[-1].sent_packets


async def test_an_old_acknowledgement_changes_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was acknowledged before is not acknowledged again."""
    taken = Taken(monkeypatch)
    pair.packet(data=b"x")
    before = state(pair.sender)
    pair.sender._take_payload(numbers(2, before["sent"][0] - 1, 0, 0, 0), pair.now)
    assert (taken.short, taken.long) == (1, 0)
    assert state(pair.sender) == {**before, "frames": before["frames"] + 1}


async def test_floods_are_counted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is time to look whether frames were too many, aioquic's way is taken, on which that is done."""
    await deliver(pair)
    taken = Taken(monkeypatch)
    pair.receiver._look_at = pair.receiver._frames
    await deliver(pair)
    await deliver(pair)
    assert (taken.short, taken.long) == (1, 1)


async def test_a_stream_given_up_takes_the_long_way(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that nobody wants are counted and dropped."""
    await deliver(pair)
    taken = Taken(monkeypatch)
    pair.receiver.forget(0, pair.now)
    await deliver(pair)
    assert (taken.short, taken.long) == (0, 1)
    assert [event.data for event in iter(pair.receiver.next_event, None)] == [bytes(100), b""]


async def test_delay_and_round_trip(pair: Pair) -> None:
    """What the peer says that it waited is taken off, as far as it promised and never below the shortest one."""
    sender, loss = pair.sender, pair.sender._loss
    loss._rtt_min, loss._rtt_smoothed, loss._rtt_variance = 0.05, 0.1, 0.02
    scale = 1 << sender._remote_ack_delay_exponent
    sender._measure(0.12, 20_000 // scale, pair.now)
    assert loss._rtt_latest == pytest.approx(0.1, abs=1e-4)
    assert loss._rtt_variance == pytest.approx(0.015, abs=1e-4)
    sender._measure(0.2, 1_000_000 // scale, pair.now)
    assert loss._rtt_latest == pytest.approx(0.2 - loss.max_ack_delay)
    sender._measure(0.055, 20_000 // scale, pair.now)
    assert loss._rtt_latest == pytest.approx(0.055)
    sender._measure(0.0001, 0, pair.now)
    assert loss._rtt_min == 0.001
    loss._rtt_initialized = False
    sender._measure(0.3, 0, pair.now)
    assert (loss._rtt_smoothed, loss._rtt_variance) == (0.3, 0.15)


# What aioquic must still have

DIGESTS: dict[Callable[..., Any], str] = {
    QuicConnection._payload_received: "612b67759a96c70166a2066859a40300f53dbfc42bbd89c7a9dcef716c8cab1a",
    QuicConnection._handle_ack_frame: "a9cf2707aa0f99a5631349d8a749d4939cf857114b06c6af4c402c28f1aaded7",
    QuicConnection._handle_stream_frame: "8c79348a854e307d437866c7cd10d6015303a166a9fc3b94b568c33ce4f60d6d",
    QuicPacketRecovery.on_ack_received: "1a7c6934790843330fe5235642d5a36ddc4e72108f168b005eca87a63f5f8ab3",
    QuicStreamReceiver.handle_frame: "c54bce9f11e6f2deea60a890cf9e3217e1bded28dbc53649bbb5646810b0fa44",
}


@pytest.mark.parametrize("method", DIGESTS, ids=lambda method: method.__name__)
def test_aioquic_receives_as_it_did(method: Callable[..., Any]) -> None:
    """The way that is shortened is the one that was read; when this fails, compare both and put in the new digest."""
    assert hashlib.sha256(getsource(method).encode()).hexdigest() == DIGESTS[method]
