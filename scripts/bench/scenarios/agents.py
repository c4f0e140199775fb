"""Connect to many agents at once and take a first reply from each."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from bench.agent import GrpcAgent
from bench.model import Case, Figures, Ground, Link, Metric, Peer, Scenario
from bench.peers.tcp import channel_to
from tndrl_cli.load import Call, percentile

RTT = 0.05
COUNTS = (10, 50, 100, 500)
PEERS = (Peer.TNDRL, Peer.TCP, Peer.JSONRPC)


def cases(quick: bool) -> tuple[Case, ...]:
    """So many agents, each at a port of its own, in one process; the caller is another."""
    return tuple(
        Case(
            name=f"{count} agents",
            peers=PEERS[:2] if quick else PEERS,
            params={
                "endpoints": count,
                "limits": {"connectionsPerIdentity": 1000, "handshakesPerSecond": 10_000},
            },
            link=Link(rtt=RTT),
            repetitions=1 if quick else 3 if count < 500 else 2,
        )
        for count in ((10,) if quick else COUNTS)
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Ask all at once; the time counts from the first connection to each agent's reply, for all but the slowest few."""
    ports = [int(port) for port in ground.served["ports"]]
    async with AsyncExitStack() as stack:
        if peer is Peer.TNDRL:
            prompts: list[Call] = await _over_quic(ground, ports, stack)
        elif peer is Peer.TCP:
            prompts = [
                GrpcAgent(await stack.enter_async_context(channel_to(ground, port))).prompt for port in ports
            ]
        else:
            from bench.peers import jsonrpc

            connection = await stack.enter_async_context(jsonrpc.connecting(ground))
            prompts = [connection.agent(port).prompt for port in ports]
        began = time.perf_counter()
        times: list[float] = []

        async def ask(number: int) -> None:
            await prompts[number]()
            times.append((time.perf_counter() - began) * 1000)

        await asyncio.gather(*map(ask, range(len(ports))))
    return {"half": percentile(times, 0.5), "all": max(times)}


async def _over_quic(ground: Ground, ports: list[int], stack: AsyncExitStack) -> list[Call]:
    import tndrl
    from bench.peers.node import configuration
    from tndrl.node.peer import dialer_of
    from tndrl.node.trust import load_credentials
    from tndrl.transport.dialer import Target

    config = configuration(ground.folder, "client", ground.params)
    dialer = await stack.enter_async_context(dialer_of(config, load_credentials(config), timeout=60))
    return [
        GrpcAgent(dialer.channel(Target(ground.host, port, None), tndrl.StreamType.A2A)).prompt
        for port in ports
    ]


SCENARIO = Scenario(
    key="agents",
    number=4,
    title="Many agents at once",
    question="How long is it until so many agents, none of them connected, have each given a first reply?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="half", title="half of them", unit="ms"),
        Metric(key="all", title="all of them", unit="ms"),
    ),
    why=(
        "A research note behind this project promised 220, 240, 280 and 450 ms for 10, 50, 100 and 500 "
        "agents over QUIC, against 350, 580, 1,200 and 5,000 over TCP. On one machine of two cores that "
        "is not true: round trips are few, and what counts is the processors. A handshake with "
        "certificates of both sides, a bridge, and a first message that a durable agent writes to its "
        "store before it answers come to 20 ms and more of Python for each agent, on both sides together, "
        "and below 5 in OpenSSL and grpcio over TCP. A caller begins 64 handshakes at once; with more, "
        "all would stand still for longer than the agents wait. Agents on hosts of their own share no "
        "processor, and their caller pays its half."
    ),
)
