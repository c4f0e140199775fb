"""Acknowledgements that are checked, and the packet numbers left out so that a guess shows."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicNetworkPath

from rogue import frames
from rogue.peer import RogueClient
from support import carried, streams
from tndrl.transport._aioquic.acks import MAX_RANGES, AckValidation, SkippedNumbers
from tndrl.transport.codes import TransportCode


def check(connection: AckValidation, *ranges: range) -> None:
    """Check an ACK frame of these ranges, highest first."""
    connection._check_ranges(frames.ACK, Buffer(data=frames.ack(ranges)[1:]))


def new_path() -> QuicNetworkPath:
    """Return a path that nothing has been sent on."""
    return QuicNetworkPath(("127.0.0.1", 1))


@pytest.fixture
def connection() -> AckValidation:
    """Return a connection that has sent packets 0 to 99, without 50."""
    some = AckValidation.__new__(AckValidation)
    some._packet_number = 100
    some._skipped = SkippedNumbers()
    some._skipped.skip(50, new_path(), 12_000)
    return some


def test_what_was_sent_may_be_acknowledged(connection: AckValidation) -> None:
    """Ranges of sent packets pass, around what was left out."""
    check(connection, range(51, 100), range(50))
    check(connection, range(99, 100))


@pytest.mark.parametrize("ranges", [[range(90, 101)], [range(100, 101)], [range(5000, 5001), range(3)]])
def test_what_was_not_sent_may_not(connection: AckValidation, ranges: list[range]) -> None:
    """A number that has not been used is a lie."""
    with pytest.raises(QuicConnectionError) as raised:
        check(connection, *ranges)
    assert raised.value.error_code == TransportCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    "ranges", [[range(100)], [range(60, 100), range(50, 51)], [range(90, 91), range(60)]]
)
def test_what_was_left_out_may_not(connection: AckValidation, ranges: list[range]) -> None:
    """In whatever range it stands, a number that was left out proves a guess."""
    with pytest.raises(QuicConnectionError, match="left out"):
        check(connection, *ranges)


def test_ranges_are_so_many(connection: AckValidation) -> None:
    """The ranges are counted before any is looked at."""
    connection._packet_number = 10_000
    most = [range(n, n + 1) for n in range(9000, 9000 - 2 * MAX_RANGES, -2)]
    check(connection, *most)
    with pytest.raises(QuicConnectionError, match="ranges"):
        check(connection, *most, range(1))


@pytest.mark.parametrize("window", [2_400, 12_000, 1_000_000])
def test_each_window_has_one_number_left_out(window: int) -> None:
    """Before half a window has left, at a place that is another each time, and the last of them are remembered."""
    skipped, path, shares = SkippedNumbers(), new_path(), set[int]()
    assert skipped.is_due(path)
    for number in range(200):
        assert skipped.skip(number, path, window) == number + 1
        assert not skipped.is_due(path)
        start = path.bytes_sent
        while not skipped.is_due(path):
            path.bytes_sent += window // 100
        shares.add(path.bytes_sent - start)
    assert max(shares) <= window // 2 + window // 100
    assert len(shares) > 20
    assert list(skipped.numbers) == list(range(200 - SkippedNumbers.KEPT, 200))


def test_a_new_path_is_counted_anew() -> None:
    """Nothing has been sent on it, however much was on the one before."""
    skipped, old, new = SkippedNumbers(), new_path(), new_path()
    old.bytes_sent = 1_000_000
    skipped.skip(7, old, 12_000)
    assert not skipped.is_due(old)
    assert skipped.is_due(new)


def carry(pair: carried.Pair, *, lie: bool) -> None:
    """Let a round trip pass, and then acknowledge what arrived; or, with a ``lie``, all of it at once and unseen."""
    sender, receiver, space = pair.sender, pair.receiver, pair.space
    for data, _addr in sender.datagrams_to_send(now=pair.now):
        if not lie:
            pair.deliver(data)
    pair.now += 0.001 if lie else 0.05
    if lie:
        space.ack_queue.add(space.largest_received_packet + 1, sender._packet_number)
        space.largest_received_packet, space.largest_received_time = sender._packet_number - 1, pair.now
        space.ack_at = pair.now
    for data, _addr in receiver.datagrams_to_send(now=pair.now):
        sender.receive_datagram(data, sender._network_paths[0].addr, now=pair.now)


@pytest.mark.parametrize("honest_rounds", [0, 1, 3, 6])
async def test_guesses_cannot_double_the_window(honest_rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who acknowledges all that was sent before it can have arrived has twice an honest window, and is closed."""
    async with carried.pair(monkeypatch) as pair:
        sender = pair.sender
        del sender._skipped.is_due  # numbers are left out after all
        sender.send_stream_data(0, bytes(2_000_000))
        for _ in range(honest_rounds):
            carry(pair, lie=False)
        honest = sender._loss.congestion_window
        while sender._close_event is None:
            carry(pair, lie=True)
            assert sender._loss.congestion_window <= 2 * honest
        assert "left out" in sender._close_event.reason_phrase


async def test_a_connection_leaves_numbers_out() -> None:
    """Both sides of a busy connection skip some numbers, and neither takes offence."""
    async with streams.connected() as quic:
        near, far = await quic.streams()
        sides = [quic.client._quic, quic.server._quic]
        await streams.until(lambda: all(side._skipped.numbers for side in sides), quic.exchange)
        await near.send(b"x")
        assert await far.receive() == b"x"


async def test_many_ack_frames_in_a_packet_count_as_a_flood() -> None:
    """A packet has one; more of them make us look at all that is in flight again and again."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            number = rogue.connection.largest_received
            several = frames.ack([range(number, number + 1)]) * 20 + bytes(1000)
            await rogue.flood(several for _ in range(30))
            assert rogue.connection.closed is not None
            assert rogue.connection.closed.code == TransportCode.PROTOCOL_VIOLATION


async def test_one_ack_frame_in_a_packet_is_no_flood() -> None:
    """As many packets with one each are what a connection consists of."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            number = rogue.connection.largest_received
            await rogue.flood(frames.ack([range(number, number + 1)]) + bytes(1000) for _ in range(600))
            assert rogue.connection.closed is None


def test_aioquic_still_takes_any_acknowledgement() -> None:
    """Its own handler neither knows what was sent nor counts; once it does, ours can go."""
    assert list(signature(QuicConnection._handle_ack_frame).parameters) == [
        "self",
        "context",
        "frame_type",
        "buf",
    ]
    assert "_packet_number" not in QuicConnection._handle_ack_frame.__code__.co_names
    assert list(signature(QuicConnection.datagrams_to_send).parameters) == ["self", "now"]
