"""Acknowledgements that are checked, and the packet numbers left out so that a guess shows."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicConnectionError

from rogue import frames
from rogue.peer import RogueClient
from support import streams
from tndrl.transport._aioquic.acks import MAX_RANGES, AckValidation, SkippedNumbers
from tndrl.transport.codes import TransportCode


def check(connection: AckValidation, *ranges: range) -> None:
    """Check an ACK frame of these ranges, highest first."""
    connection._check_ranges(frames.ACK, Buffer(data=frames.ack(ranges)[1:]))


@pytest.fixture
def connection() -> AckValidation:
    """Return a connection that has sent packets 0 to 99, without 50."""
    some = AckValidation.__new__(AckValidation)
    some._packet_number = 100
    some._skipped = SkippedNumbers()
    some._skipped.skip(50)
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


def test_numbers_are_left_out_ever_more_rarely() -> None:
    """The first comes soon, later ones twice as late each time, to a limit, and only the last are kept."""
    skipped = SkippedNumbers()
    gaps = []
    for _ in range(40):
        number = skipped.next
        assert skipped.skip(number) == number + 1
        gaps.append(skipped.next - number)
    assert skipped.numbers[-1] >= 2
    assert max(gaps) <= 2 * SkippedNumbers.LONGEST + 2
    assert len(skipped.numbers) == SkippedNumbers.KEPT
    assert len({SkippedNumbers().next for _ in range(100)}) > 10  # nobody can tell which


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
