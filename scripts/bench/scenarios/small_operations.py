"""A thousand small operations a second over one connection."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.load import GrpcCaller
from bench.loads import open_loop
from bench.model import Case, Figures, Ground, Link, Metric, Peer, Scenario
from bench.peers import make_of
from bench.peers.tcp import channel_to
from tndrl_cli.load import latencies, percentile

RATE = 1000.0
PATHS = (1, 2, 4, 8)
LINK = Link(rtt=0.02, loss=0.01)


def cases(quick: bool) -> tuple[Case, ...]:
    """So many streams of one connection over QUIC, so many connections over TCP."""
    return tuple(
        Case(
            name=f"{count} stream{'s' if count > 1 else ''} of one connection, {count} TCP connection"
            f"{'s' if count > 1 else ''}",
            peers=(Peer.TNDRL, Peer.TCP),
            params={"paths": count, "seconds": 1.0 if quick else 2.0},
            link=LINK,
            repetitions=1 if quick else 2,
        )
        for count in ((4,) if quick else PATHS)
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Begin a call each millisecond, whether the others are back or not."""
    async with AsyncExitStack() as stack:
        count = int(ground.params["paths"])
        if peer is Peer.TNDRL:
            connection = await stack.enter_async_context(make_of(peer).connecting(ground))
            callers = [connection.caller() for _ in range(count)]
        else:
            callers = [GrpcCaller(await stack.enter_async_context(channel_to(ground))) for _ in range(count)]
        calls = [caller.unary for caller in callers]
        await open_loop(calls, 100, 0.5)
        times = await open_loop(calls, RATE, float(ground.params["seconds"]))
        return {**latencies(times), "late": 100 * sum(time > 0.1 for time in times) / len(times)} | {
            "p90": percentile(times, 0.9) * 1000
        }


SCENARIO = Scenario(
    key="small-operations",
    number=9,
    title="A thousand operations a second",
    question="How are latencies spread at 1,000 calls a second, and how many TCP connections give the same?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="p50", title="p50", unit="ms"),
        Metric(key="p90", title="p90", unit="ms"),
        Metric(key="p99", title="p99", unit="ms"),
        Metric(key="p999", title="p99.9", unit="ms"),
        Metric(key="late", title="over 100 ms", unit="%"),
    ),
    why=(
        "A thousand calls a second are most of what two cores can do over Tndrl, and a third of what they "
        "can over TCP, so Tndrl's times have some queueing in them at every width. On a line that loses 1 "
        "%, a lost packet also holds up what shares its order: the calls of one stream over QUIC, those "
        "of one connection over TCP. More streams or more connections spread that damage in the same way, "
        "but streams share one congestion window, one handshake and one keepalive. TCP needs one "
        "connection for a thousand operations a second, here: it is ahead with one."
    ),
)
