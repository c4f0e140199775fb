"""``tndrl ping``: how long a peer takes to answer."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import click

from tndrl.errors import ConnectError, IdentityError, TndrlError
from tndrl_cli.client import ControlCaller, control, run
from tndrl_cli.errors import CallError, ExitCode
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options

PAUSE = 1.0
"""Seconds after a lost ping before the next, so that a node that restarts is not given up at once."""


@click.command(short_help="Call a peer and measure its round trip.")
@click.argument("peer")
@click.option("-n", "count", type=click.IntRange(min=1), default=1, help="How many times. [1]")
@common_options
@setting_options(*CLIENT_SETTINGS)
@click.pass_context
def ping(context: click.Context, /, peer: str, count: int, **given: Any) -> ExitCode:
    """Call PEER, a name from the configuration or host:port, and measure its round trip.

    Each ping follows the answer to the one before. The first includes opening its stream.
    """
    return run(_ping(peer, count, invocation(context, given, default_log="error")))


async def _ping(target: str, count: int, using: Invocation) -> ExitCode:
    async with control(target, using) as caller:
        pings = Pings(caller, using)
        try:
            for number in range(1, count + 1):
                if pings.failure is not None:
                    await asyncio.sleep(PAUSE)
                await pings.send(number)
        finally:
            pings.summarise()
    if pings.failures and not pings.round_trips:
        raise pings.failures[-1]
    return ExitCode.FAILED if pings.failures else ExitCode.DONE


class Pings:
    """Sends pings, writes each as it comes, and the summary."""

    def __init__(self, caller: ControlCaller, using: Invocation) -> None:
        self._caller = caller
        self._output = using.output
        self.round_trips: list[float] = []  # milliseconds
        self.failures: list[CallError | TndrlError] = []
        self.failure: CallError | TndrlError | None = None  # of the last ping

    async def send(self, number: int) -> None:
        """Send one ping and write what came back. Safe to cancel."""
        from tndrl.v1.control_pb2 import PingRequest

        began = time.perf_counter()
        try:
            await self._caller.call(self._caller.stub.Ping, PingRequest(timestamp=time.time_ns()))
        except (CallError, TndrlError) as error:
            if isinstance(error, ConnectError | IdentityError) and not (self.round_trips or self.failures):
                raise  # there never was a connection
            self.failure = error
            self.failures.append(error)
            self._output.write(
                {"event": "lost", "ping": number, "reason": str(error)}, f"ping {number}: lost: {error}"
            )
        else:
            self.failure = None
            took = (time.perf_counter() - began) * 1000
            self.round_trips.append(took)
            identity = self._caller.peer.identity
            self._output.write(
                {"event": "pong", "ping": number, "identity": identity, "rtt_ms": round(took, 3)},
                f"pong {number} from {identity}: {took:.2f} ms",
            )

    def summarise(self) -> None:
        """Write the summary, unless there is nothing to sum up."""
        sent = len(self.round_trips) + len(self.failures)
        if not sent:
            return
        loss = 100 * len(self.failures) / sent
        record: dict[str, object] = {
            "event": "summary",
            "address": self._caller.peer.address,
            "identity": self._caller.peer.identity,
            "sent": sent,
            "answered": len(self.round_trips),
            "loss_percent": round(loss, 1),
        }
        text = f"{self._caller.peer.address}: {sent} sent, {len(self.round_trips)} answered, {loss:.3g}% loss"
        if self.round_trips:
            times = statistics(self.round_trips)
            record |= {f"{name}_ms": round(value, 3) for name, value in times.items()}
            text += f"; {'/'.join(times)} {'/'.join(f'{value:.2f}' for value in times.values())} ms"
        self._output.write(record, text)


def statistics(values: list[float]) -> dict[str, float]:
    """Return minimum, average, maximum and the standard deviation, as ping(8) names them."""
    average = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - average) ** 2 for value in values) / len(values))
    return {"min": min(values), "avg": average, "max": max(values), "mdev": deviation}
