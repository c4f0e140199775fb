"""Small calls, one at a time and many at once."""

from __future__ import annotations

import time

from bench.counters import Usage
from bench.model import Case, Figures, Ground, Metric, Peer, Scenario
from bench.peers import make_of
from tndrl_cli.load import closed_loop, latencies

PEERS = (Peer.TNDRL, Peer.TCP, Peer.UNIX, Peer.AIOQUIC, Peer.GO)
QUICK = (Peer.TNDRL, Peer.TCP)
WARM_UP = 0.3


def cases(quick: bool) -> tuple[Case, ...]:
    """One, fifty and five hundred at once."""
    seconds = 0.5 if quick else 1.0
    return tuple(
        Case(
            name=f"{concurrent} at once",
            peers=QUICK if quick else PEERS,
            params={"concurrent": concurrent, "seconds": seconds},
            repetitions=2 if quick else 4 if concurrent < 500 else 3,
        )
        for concurrent in ((1, 50) if quick else (1, 50, 500))
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Keep so many calls under way."""
    concurrent, server = int(ground.params["concurrent"]), int(ground.served["pid"])
    async with make_of(peer).connecting(ground) as connection:
        call = connection.caller().unary
        await closed_loop(call, concurrent, WARM_UP)
        ours, theirs, began = Usage.of(), Usage.of(server), time.perf_counter()
        times = await closed_loop(call, concurrent, float(ground.params["seconds"]))
        took = time.perf_counter() - began
        per = 10_000 / len(times)
        return {
            **latencies(times),
            "rate": len(times) / took,
            "cpu_client": (Usage.of().cpu - ours.cpu) * per,
            "cpu_server": (Usage.of(server).cpu - theirs.cpu) * per,
        }


SCENARIO = Scenario(
    key="unary",
    number=1,
    title="Small calls",
    question="What does a unary call of 100 bytes each way cost on the loopback interface?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="p50", title="p50", unit="ms"),
        Metric(key="p99", title="p99", unit="ms"),
        Metric(key="p999", title="p99.9", unit="ms"),
        Metric(key="rate", title="calls", unit="1/s", lower_is_better=False),
        Metric(key="cpu_client", title="caller's CPU for 10,000 calls", unit="s"),
        Metric(key="cpu_server", title="server's CPU for 10,000 calls", unit="s"),
    ),
    why=(
        "A call over Tndrl passes through grpcio twice as it does over TCP, and besides through QUIC in "
        "Python on each side: encryption, acknowledgement and loss recovery are the kernel's and "
        "OpenSSL's over TCP, and some hundred microseconds of Python here. The column of the unix socket "
        "is what grpcio alone takes; stock aioquic's streams show what the engine takes without gRPC. "
        "With many calls at once several share a datagram, so the price of each falls. At 500, all peers "
        "hold calls back: each allows 100 at once on a connection."
    ),
)
