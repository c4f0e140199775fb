"""The first call on a cold connection, and on one that resumes an earlier one."""

from __future__ import annotations

import statistics
import time

from bench.model import Case, Figures, Ground, Link, Metric, Peer, Scenario
from bench.peers import make_of

RTTS = (0.0, 0.01, 0.05, 0.1)
PEERS = (Peer.TNDRL, Peer.TCP)


def cases(quick: bool) -> tuple[Case, ...]:
    """Each round-trip time, once without any delay for what the processors take."""
    return tuple(
        Case(
            name=f"RTT {rtt * 1000:g} ms",
            peers=PEERS,
            params={"tries": 2 if quick else 4, "rtt": rtt},
            link=Link(rtt=rtt),
            repetitions=1 if quick else 3,
        )
        for rtt in ((0.05,) if quick else RTTS)
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Connect and call; the first connection is thrown away, then cold ones and resumed ones are timed in turn."""
    rtt = float(ground.params["rtt"])
    cold, resumed = [], []
    await _first_call(peer, ground, resume=False)
    for _ in range(int(ground.params["tries"])):
        cold.append(await _first_call(peer, ground, resume=False))
        resumed.append(await _first_call(peer, ground, resume=True))
    figures = {"cold": statistics.median(cold) * 1000, "resumed": statistics.median(resumed) * 1000}
    if rtt:
        figures |= {"cold_trips": min(cold) / rtt, "resumed_trips": min(resumed) / rtt}
    return figures


async def _first_call(peer: Peer, ground: Ground, *, resume: bool) -> float:
    """Return the seconds from nothing to the first answer; with ``resume``, a ticket of a connection before is used.

    grpc.aio offers no resumption between channels with certificates of the client, so there it is one more cold one.
    """
    if peer is Peer.TNDRL:
        return await _first_ping(ground, resume=resume)
    began = time.perf_counter()
    async with make_of(peer).connecting(ground) as connection:
        await connection.ping()
        return time.perf_counter() - began


async def _first_ping(ground: Ground, *, resume: bool) -> float:
    import tndrl
    from bench.peers.node import Connection, configuration
    from tndrl.transport.tickets import MemoryTickets

    config = configuration(ground.folder, "client", ground.params)
    address, tickets = f"{ground.host}:{ground.port}", MemoryTickets(8)
    if resume:
        async with tndrl.connect(address, config=config, tickets=tickets) as peer:
            await Connection(peer).ping()
    began = time.perf_counter()
    async with tndrl.connect(address, config=config, tickets=tickets) as peer:
        await Connection(peer).ping()
        return time.perf_counter() - began


SCENARIO = Scenario(
    key="first-call",
    number=3,
    title="The first call",
    question="How long is it from nothing to the answer of the first call, cold and resumed?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="cold", title="cold", unit="ms"),
        Metric(key="resumed", title="resumed", unit="ms"),
        Metric(key="cold_trips", title="cold, in round trips", unit="RTT"),
        Metric(key="resumed_trips", title="resumed, in round trips", unit="RTT"),
    ),
    why=(
        "QUIC makes connection and encryption one round trip, and the bridge lets grpcio send its first "
        "call without waiting for the server's SETTINGS: two round trips in all. With a ticket an "
        "idempotent call, as Ping is, goes out with the first packet: one. TCP, TLS 1.3 and HTTP/2's "
        "SETTINGS each take their own. grpc.aio resumes no sessions between channels that present a "
        "certificate, so its second column is its first once more. What is over a whole number is the "
        "time of the processors, which is all there is without delay: there TCP is four times as fast, "
        "and at 10 ms they are about even."
    ),
)
