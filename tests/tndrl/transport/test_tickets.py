"""Session tickets: good once, while what was verified with them still would be, for the peer they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pki.spiffe import SpiffeId
from support import streams, tickets
from tndrl.transport.identity import ClientPolicy, ServerPolicy
from tndrl.transport.target import Target
from tndrl.transport.tickets import (
    LIFETIME,
    MAX_AGE_ERROR,
    TICKETS_PER_PEER,
    ClientTickets,
    IssuedTickets,
    MemoryTickets,
    Ticket,
)

A = SpiffeId.parse(streams.node_id("a"))


def labels(store: IssuedTickets, made: Sequence[Ticket]) -> list[int]:
    """Return which of some tickets are still good; asking uses them up."""
    return [index for index, one in enumerate(made) if store.take(one.session.ticket) is not None]


# One ticket


def test_a_secret_is_not_shown() -> None:
    """What is printed of a ticket says whose it is and nothing that could be used."""
    made = tickets.made()
    assert made.session.resumption_secret.hex() not in repr(made)
    assert "resumption_secret" not in repr(made)
    assert "/node/b" in repr(made)


@pytest.mark.parametrize(
    ("ticket", "alive"),
    [
        (lambda: tickets.made(), True),
        (lambda: tickets.made(age=100, lifetime=99), False),
        (lambda: tickets.made(age=LIFETIME + 1, lifetime=2 * LIFETIME), False),
        (lambda: tickets.made(verified_at=tickets.made().verified_at - LIFETIME - 1), False),
        (lambda: tickets.made(age=-60), False),
    ],
    ids=["fresh", "over", "longer", "proof", "future"],
)
def test_a_ticket_ends(ticket: Any, alive: bool) -> None:
    """It ends with its lifetime, and a day after the last handshake with certificates, however often it was renewed."""
    assert ticket().is_alive is alive


def test_a_ticket_is_trusted_as_its_certificates_are() -> None:
    """They are verified again by today's rules, and must name whom they named."""
    bundle, made = streams.credentials("a").bundle, tickets.made("b")
    assert made.is_trusted(ClientPolicy(bundle).verify)
    assert not made.is_trusted(ServerPolicy(bundle, "localhost", A).verify)
    assert not made.is_trusted(ClientPolicy(bundle, is_revoked=lambda *_: True).verify)
    assert not made.is_trusted(lambda _chain: A)
    assert not tickets.made(age=2 * LIFETIME).is_trusted(ClientPolicy(bundle).verify)


@pytest.mark.parametrize("wrong", [0.0, MAX_AGE_ERROR - 1, -MAX_AGE_ERROR + 1])
def test_an_age_that_fits(wrong: float) -> None:
    """A hello that was sent just now says how old its ticket is, give or take clocks."""
    made = tickets.made(age=100)
    assert made.has_age((made.session.obfuscated_age + int(1000 * wrong)) % (1 << 32))


@pytest.mark.parametrize("late", [MAX_AGE_ERROR + 1, 3600, -MAX_AGE_ERROR - 1])
def test_an_age_that_does_not_fit(late: float) -> None:
    """A hello that was held back somewhere on its way claims an age of long ago."""
    made = tickets.made(age=7200)
    assert not made.has_age((made.session.obfuscated_age - int(1000 * late)) % (1 << 32))


# A node's


def test_a_ticket_is_good_once() -> None:
    """Whoever comes second meets nothing, and is counted as a replay; a ticket of nobody is refused."""
    store, one, other = IssuedTickets(10), tickets.made(), tickets.made()
    store.issue(one)
    assert store.take(one.session.ticket) is one
    assert store.take(one.session.ticket) is None
    assert store.take(other.session.ticket) is None
    assert store.counters == {
        "tickets_issued": 1,
        "tickets_offered": 3,
        "tickets_replayed": 1,
        "tickets_refused": 1,
    }
    assert len(store) == 0


def test_a_node_that_starts_again_knows_no_ticket() -> None:
    """What was issued before is refused: nothing of that time can be replayed."""
    made = tickets.made()
    IssuedTickets(10).issue(made)
    assert IssuedTickets(10).take(made.session.ticket) is None


def test_only_so_many_are_kept() -> None:
    """Over the limit the oldest goes."""
    store, made = IssuedTickets(3), [tickets.made(name) for name in "bcde"]
    for one in made:
        store.issue(one)
    assert labels(store, made) == [1, 2, 3]


def test_whoever_takes_many_loses_its_own() -> None:
    """A peer that connects without end pushes out its own tickets and nobody else's."""
    store, victim = IssuedTickets(4), tickets.made("victim")
    store.issue(victim)
    flood = [tickets.made("b") for _ in range(20)]
    for one in flood:
        store.issue(one)
    assert labels(store, [victim]) == [0]
    assert labels(store, flood) == [17, 18, 19]


def test_a_newcomer_gets_its_place_from_the_oldest() -> None:
    """A full store takes the ticket of somebody new."""
    store, old, new = IssuedTickets(2), [tickets.made("b") for _ in range(2)], tickets.made("c")
    for one in (*old, new):
        store.issue(one)
    assert labels(store, [*old, new]) == [1, 2]


def test_used_ones_are_not_remembered_for_ever() -> None:
    """No more used tickets are remembered than good ones, and what is forgotten is refused all the same."""
    store, made = IssuedTickets(2), [tickets.made() for _ in range(3)]
    for one in made:
        store.issue(one)
        store.take(one.session.ticket)
    assert labels(store, made) == []
    assert (store.counters["tickets_replayed"], store.counters["tickets_refused"]) == (2, 1)


# A caller's


def test_the_latest_is_taken_first_and_once() -> None:
    """A peer's tickets come out newest first, each one time."""
    store, made = MemoryTickets(10), [tickets.made() for _ in range(2)]
    for one in made:
        store.put("peer", one)
    assert [store.take("peer") for _ in range(3)] == [made[1], made[0], None]
    assert store.take("other") is None


def test_one_that_is_over_is_not_taken() -> None:
    """A dead ticket is passed over and gone."""
    store, made = MemoryTickets(10), tickets.made(age=10)
    store.put("peer", made)
    store.put("peer", tickets.made(age=100, lifetime=99))
    assert store.take("peer") is made
    assert len(store) == 0


def test_a_caller_keeps_only_so_many() -> None:
    """Some for each peer, and of all together those of the peers heard of last."""
    store = MemoryTickets(2 * TICKETS_PER_PEER)
    for peer in "xyz":
        for _ in range(TICKETS_PER_PEER + 3):
            store.put(peer, tickets.made())
    assert len(store) == 2 * TICKETS_PER_PEER
    assert store.take("x") is None
    none = MemoryTickets(0)
    none.put("x", tickets.made())
    assert len(none) == 0


def caller(store: MemoryTickets, name: str = "b") -> ClientTickets:
    return ClientTickets(streams.credentials(name), store)


def policy(target: Target) -> ServerPolicy:
    return ServerPolicy(streams.credentials("b").bundle, target.host, target.expected)


BY_NAME, BY_ID = Target("localhost", 1), Target("localhost", 1, A)


@pytest.mark.parametrize(
    ("other", "name"),
    [(BY_ID, "b"), (Target("localhost", 2), "b"), (Target("other", 1), "b"), (BY_NAME, "c")],
    ids=["expected", "port", "host", "caller"],
)
def test_a_ticket_is_for_one_target_and_caller(other: Target, name: str) -> None:
    """A server verified by host name is not resumed where an ID is expected, nor by anybody else, nor elsewhere."""
    store, address = MemoryTickets(10), ("127.0.0.1", 1)
    caller(store).keeper(BY_NAME, address)(tickets.made("a"))
    assert caller(store, name).take(other, policy(other)) is None
    found = caller(store).take(BY_NAME, policy(BY_NAME))
    assert found is not None
    assert found.address == address


def test_a_ticket_of_somebody_else_is_dropped() -> None:
    """What is found for a target must be of the identity expected there, whoever put it there."""
    store = MemoryTickets(10)
    caller(store).keeper(BY_ID, ("127.0.0.1", 1))(tickets.made("c"))
    assert caller(store).take(BY_ID, policy(BY_ID)) is None
    assert len(store) == 0


def test_a_server_can_only_give_so_many() -> None:
    """A server that sends tickets without end costs nothing after the first few."""
    put: list[Ticket] = []
    store = MemoryTickets(100)
    store.put = lambda _peer, ticket: put.append(ticket)  # type: ignore[method-assign]
    keep = caller(store).keeper(BY_NAME, ("127.0.0.1", 1))
    for _ in range(1000):
        keep(tickets.made("a"))
    assert len(put) == TICKETS_PER_PEER
