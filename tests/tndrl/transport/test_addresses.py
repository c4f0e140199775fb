"""From a name to one connection: the order of addresses, and the race between them (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from socket import AF_INET, AF_INET6

import pytest

from pki.alerts import Alert
from tndrl.errors import ConnectError, NameResolutionError, PeerCertificateError, PortClosedError
from tndrl.transport import addresses
from tndrl.transport.addresses import ATTEMPT_DELAY, Candidate, interleaved, race, resolve
from tndrl.transport.target import Target

THERE = Target("b.example", 4433)


def six(number: int) -> Candidate:
    """Return an IPv6 address."""
    return AF_INET6, (f"2001:db8::{number}", 4433, 0, 0)


def four(number: int) -> Candidate:
    """Return an IPv4 address."""
    return AF_INET, (f"192.0.2.{number}", 4433)


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ([], []),
        ([six(1)], [six(1)]),
        ([six(1), six(2), six(3), four(1), four(2)], [six(1), four(1), six(2), four(2), six(3)]),
        ([four(1), four(2), six(1)], [four(1), six(1), four(2)]),
        ([four(1), four(1), six(1)], [four(1), six(1)]),
    ],
)
def test_families_take_turns(found: list[Candidate], order: list[Candidate]) -> None:
    """Families alternate, beginning with the one that the system prefers; each address is tried once."""
    assert interleaved(found) == order


@pytest.mark.parametrize(
    ("host", "candidate"),
    [
        ("127.0.0.1", (AF_INET, ("127.0.0.1", 4433))),
        ("::1", (AF_INET6, ("::1", 4433, 0, 0))),
        ("::ffff:127.0.0.1", (AF_INET6, ("::ffff:127.0.0.1", 4433, 0, 0))),
    ],
)
async def test_an_address_means_itself(host: str, candidate: Candidate) -> None:
    """What is an address already is taken as it is."""
    assert await resolve(Target(host, 4433)) == [candidate]


async def test_a_zone_is_kept() -> None:
    """A link-local address means nothing without its interface (RFC 4007 section 11)."""
    index, name = socket.if_nameindex()[0]
    assert await resolve(Target(f"fe80::1%{name}", 1)) == [(AF_INET6, ("fe80::1", 1, 0, index))]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "fe80::1%no-such-zone", "a" * 70 + ".example"])
async def test_a_name_that_means_nothing(host: str) -> None:
    """A name without an address is an error of its own."""
    with pytest.raises(NameResolutionError):
        await resolve(Target(host, 4433))


# The race


class Course:
    """Where addresses race: each attempt waits until the test says how it ends."""

    def __init__(self) -> None:
        self.begun: list[Candidate] = []
        self.cancelled: list[Candidate] = []
        self.discarded: list[str] = []
        self.ends: dict[Candidate, asyncio.Future[str]] = {}
        self.changed = asyncio.Event()

    async def attempt(self, candidate: Candidate) -> str:
        """Take part."""
        self.begun.append(candidate)
        self.changed.set()
        try:
            return await self.end(candidate)
        except asyncio.CancelledError:
            self.cancelled.append(candidate)
            raise

    def end(self, candidate: Candidate) -> asyncio.Future[str]:
        """Return what decides how an attempt ends."""
        return self.ends.setdefault(candidate, asyncio.get_running_loop().create_future())

    def fails(self, candidate: Candidate, error: Exception) -> None:
        """Let an attempt fail as soon as it begins."""
        self.end(candidate).set_exception(error)

    async def until_begun(self, count: int) -> None:
        """Wait until so many attempts are under way."""
        while len(self.begun) < count:
            self.changed.clear()
            await self.changed.wait()

    async def run(self, *candidates: Candidate) -> str:
        """Have the race."""
        async with asyncio.timeout(5):
            return await race(THERE, candidates, self.attempt, self.discarded.append)


@pytest.fixture
async def course() -> Course:
    """Return a course."""
    return Course()


async def test_the_first_address_has_a_start(course: Course) -> None:
    """An address that answers within the delay is the only one that was tried."""
    course.end(six(1)).set_result("six")
    assert await course.run(six(1), four(1)) == "six"
    assert course.begun == [six(1)]


async def test_the_next_begins_beside_a_silent_one(course: Course) -> None:
    """After the delay the next address is tried, the one before goes on, and the loser is cancelled."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    course.end(four(1)).set_result("four")
    assert await course.run(six(1), four(1)) == "four"
    assert ATTEMPT_DELAY <= loop.time() - began < 10 * ATTEMPT_DELAY
    assert course.cancelled == [six(1)]


async def test_a_late_first_address_may_win(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that has been overtaken in starting is not given up."""
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY", 0.01)
    running = asyncio.ensure_future(course.run(six(1), four(1)))
    await course.until_begun(2)
    course.end(six(1)).set_result("six")
    assert await running == "six"
    assert course.cancelled == [four(1)]


async def test_the_next_begins_at_once_after_a_failure(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is closed, or a family that this host lacks, costs no delay."""
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY", 100)
    course.fails(six(1), PortClosedError("b"))
    course.fails(four(1), OSError(97, "Address family not supported"))
    course.end(six(2)).set_result("second")
    assert await course.run(six(1), four(1), six(2)) == "second"


async def test_when_all_fail_the_last_is_told(course: Course) -> None:
    """The error is the last one's, by the name of the target."""
    course.fails(six(1), PortClosedError("b"))
    course.fails(four(1), OSError(101, "Network is unreachable"))
    with pytest.raises(ConnectError, match=r"b\.example:4433: Network is unreachable"):
        await course.run(six(1), four(1))


async def test_somebody_else_is_told_before_nobody(course: Course) -> None:
    """That a certificate was refused says more than that another address is silent."""
    course.fails(six(1), PeerCertificateError("b", Alert.unknown_ca, "unknown_ca", "no"))
    course.fails(four(1), PortClosedError("b"))
    with pytest.raises(PeerCertificateError):
        await course.run(six(1), four(1))


async def test_of_two_winners_one_is_given_back(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that succeed in the same moment leave one connection."""
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY", 0.01)
    running = asyncio.ensure_future(course.run(six(1), four(1)))
    await course.until_begun(2)
    for candidate in course.begun:
        course.ends[candidate].set_result(str(candidate))
    winner = await running
    assert {winner, *course.discarded} == {str(six(1)), str(four(1))}


async def test_who_gives_up_leaves_nothing_running(course: Course) -> None:
    """Cancelling the race cancels every attempt."""
    running = asyncio.ensure_future(course.run(six(1), four(1)))
    await course.until_begun(1)
    running.cancel()
    await asyncio.wait({running})
    assert course.cancelled == course.begun
