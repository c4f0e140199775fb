"""What a server's memory grows by for each connection and each stream."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bench.counters import Usage
from bench.load import GrpcCaller
from bench.model import Case, Figures, Ground, Metric, Peer, Scenario
from bench.peers import make_of
from bench.peers.tcp import channel_to

AT_ONCE = 20
PEERS = (Peer.TNDRL, Peer.TCP)
LIMITS = {
    "connections": 5000,
    "connectionsPerIdentity": 5000,
    "handshakesPerSecond": 10_000,
    "descriptorsPercent": 90,
    "streams": 2000,
}


def cases(quick: bool) -> tuple[Case, ...]:
    """Connections that have made one call, and streams of one connection that have."""
    connections = [
        Case(
            name=f"{count} connection{'s' if count > 1 else ''}",
            peers=PEERS,
            params={"what": "connections", "count": count, "limits": LIMITS},
            repetitions=1 if quick else 3 if count < 1000 else 1,
        )
        for count in ((50,) if quick else (1, 100, 1000))
    ]
    count = 100 if quick else 1000
    streams = Case(
        name=f"{count} open streams",
        peers=PEERS,
        params={"what": "streams", "count": count, "limits": LIMITS},
        repetitions=1,
    )
    return (*connections, streams)


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Make them, a few at once, each with a call, and see what the server has grown by."""
    server, count = int(ground.served["pid"]), int(ground.params["count"])
    one_each = ground.params["what"] == "connections"
    async with AsyncExitStack() as stack:

        async def caller() -> GrpcCaller:
            if peer is Peer.TNDRL and not one_each:
                return shared.caller()  # type: ignore[return-value]
            if peer is Peer.TNDRL:
                connection = await stack.enter_async_context(make_of(peer).connecting(ground))
                return connection.caller()  # type: ignore[return-value]
            return GrpcCaller(await stack.enter_async_context(channel_to(ground)))

        shared = await stack.enter_async_context(make_of(peer).connecting(ground))
        await shared.ping()
        await shared.caller().unary()
        before = Usage.of(server).resident
        made = 0
        while made < count:
            some = [await caller() for _ in range(min(AT_ONCE, count - made))]
            await asyncio.gather(*(each.unary() for each in some))
            made += len(some)
        grown = Usage.of(server).resident - before
    return {"each": grown / count / 1024, "all": grown / 1024 / 1024}


SCENARIO = Scenario(
    key="memory",
    number=8,
    title="Memory",
    question="What does the server's resident memory grow by for each connection, and for each open stream?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="each", title="each", unit="KiB"),
        Metric(key="all", title="together", unit="MiB"),
    ),
    why=(
        "Each connection here has made a call, so on a node it also has a stream, its bridge, and a "
        "connection of grpcio's inside the process. The state of QUIC and TLS is made of Python objects, "
        "where TCP's is the kernel's, which no process is charged for. A stream of one connection is "
        "compared with a connection over TCP, because that is what a channel of grpc.aio costs there: "
        "whoever has many channels to one peer pays less than half."
    ),
)
