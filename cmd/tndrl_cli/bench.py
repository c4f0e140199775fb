"""``tndrl bench``: what calls to a peer cost on one's own network."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from tndrl_cli.client import ControlCaller, run
from tndrl_cli.errors import ExitCode, NotMeasuredError
from tndrl_cli.load import closed_loop, latencies
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options

TRIES = 5
"""First calls of each kind; the quickest counts, because the slower ones tell of something else."""

LOADS = (1, 50)
"""Calls under way at once."""


@click.command(short_help="Measure what calls to a peer cost.")
@click.argument("peer")
@click.option(
    "-s", "--seconds", type=click.FloatRange(0.1, 600), default=3.0, help="How long each load lasts. [3]"
)
@common_options
@setting_options(*CLIENT_SETTINGS)
@click.pass_context
def bench(context: click.Context, /, peer: str, seconds: float, **given: Any) -> ExitCode:
    """Measure calls to PEER, a name from the configuration or host:port.

    The first call on a cold and on a resumed connection, in milliseconds and round trips, and Pings one at a time and
    fifty at once. Nothing is written unless the datagrams of it were counted.
    """
    return run(_bench(peer, seconds, invocation(context, given, default_log="error")))


async def _bench(target: str, seconds: float, using: Invocation) -> ExitCode:
    steps = 2 * TRIES + len(LOADS)
    with _progress(steps) as advance:
        meter = Meter(target, using)
        cold, resumed = [], []
        for _ in range(TRIES):
            first, second = await meter.first_calls()
            cold.append(first)
            resumed.append(second)
            advance(2)
        loads = {}
        for concurrent in LOADS:
            loads[concurrent] = await meter.load(concurrent, seconds)
            advance(1)
    round_trip = min(load["min"] for load in loads.values())
    for name, times in (("cold", cold), ("resumed", resumed)):
        _write_first(using, meter, name, min(times), round_trip)
    for concurrent, found in loads.items():
        _write_load(using, meter, concurrent, found)
    crossed = meter.crossed
    using.output.write(
        {
            "event": "datagrams",
            "address": meter.address,
            "sent": crossed["sent"],
            "received": crossed["received"],
        },
        f"datagrams: {crossed['sent']:,} sent, {crossed['received']:,} received",
    )
    return ExitCode.DONE


def _write_first(using: Invocation, meter: Meter, name: str, took: float, round_trip: float) -> None:
    trips = took * 1000 / round_trip
    using.output.write(
        {
            "event": "first_call",
            "connection": name,
            "identity": meter.identity,
            "ms": round(took * 1000, 3),
            "round_trips": round(trips, 2),
        },
        f"first call, {name} connection: {took * 1000:.2f} ms, {trips:.1f} times the quickest Ping",
    )


def _write_load(using: Invocation, meter: Meter, concurrent: int, found: Mapping[str, float]) -> None:
    times = {name: found[name] for name in ("p50", "p99", "p999")}
    using.output.write(
        {
            "event": "load",
            "at_once": concurrent,
            "identity": meter.identity,
            "calls_per_second": round(found["rate"], 1),
            **{f"{name}_ms": round(value, 3) for name, value in times.items()},
        },
        f"Ping, {concurrent} at once: {found['rate']:,.0f} calls/s; p50/p99/p99.9 "
        f"{'/'.join(f'{value:.2f}' for value in times.values())} ms",
    )


class Meter:
    """Measures calls to one peer and counts what crosses the network meanwhile."""

    def __init__(self, target: str, using: Invocation) -> None:
        self.address = target
        self.identity = ""
        self.crossed: Counter[str] = Counter()
        """Datagrams "sent" and "received" so far."""
        self._target = target
        self._using = using

    async def first_calls(self) -> tuple[float, float]:
        """Return the seconds from nothing to the answer of a first call, on a cold and on a resumed connection."""
        from tndrl.transport.tickets import MemoryTickets

        tickets = MemoryTickets(self._using.config.limits.tickets)
        return await self._first_call(tickets), await self._first_call(tickets)

    async def load(self, concurrent: int, seconds: float) -> dict[str, float]:
        """Keep so many Pings under way on one connection; returns percentiles (ms), "min" (ms), and calls a second."""
        import tndrl

        async with tndrl.connect(self._target, config=self._using.config) as peer:
            ping = self._pinging(peer)
            await ping()
            before, began = peer.stats(), time.perf_counter()
            try:
                times = await closed_loop(ping, concurrent, seconds)
            except ExceptionGroup as group:
                raise group.exceptions[0] from None  # they all ended for one reason
            took = time.perf_counter() - began
            self._count(before, peer.stats())
        return {**latencies(times), "min": min(times) * 1000, "rate": len(times) / took}

    async def _first_call(self, tickets: Any) -> float:
        import tndrl

        began = time.perf_counter()
        async with tndrl.connect(self._target, config=self._using.config, tickets=tickets) as peer:
            before: dict[str, int] = {}
            await self._pinging(peer)()
            took = time.perf_counter() - began
            self._count(before, peer.stats())
            self.address, self.identity = peer.address, peer.identity
        return took

    def _pinging(self, peer: Any) -> Any:
        import tndrl
        from tndrl.v1.control_pb2 import PingRequest
        from tndrl.v1.control_pb2_grpc import ControlServiceStub

        stub = ControlServiceStub(peer.channel(tndrl.StreamType.CONTROL))
        caller = ControlCaller(peer, stub, self._using.config.transport.connect_timeout)

        async def ping() -> None:
            await caller.call(stub.Ping, PingRequest(timestamp=time.time_ns()))

        return ping

    def _count(self, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Add what crossed; raises NotMeasuredError if nothing did."""
        for way in ("sent", "received"):
            number = after.get(f"datagrams_{way}", 0) - before.get(f"datagrams_{way}", 0)
            if number <= 0:
                raise NotMeasuredError(self.address, way)
            self.crossed[way] += number


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], None]]:
    """Show on standard error, if that is a terminal, how far it is."""
    err = sys.stderr
    with click.progressbar(length=steps, label="measuring", file=err, hidden=not err.isatty()) as bar:
        yield bar.update
