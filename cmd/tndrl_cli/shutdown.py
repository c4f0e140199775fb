"""``tndrl shutdown``: stop a peer."""

from __future__ import annotations

from typing import Any

import click

from tndrl_cli.client import control, run
from tndrl_cli.errors import ExitCode, ShutdownRefusedError
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options


@click.command(short_help="Stop a peer.")
@click.argument("peer")
@click.option("--force", is_flag=True, help="Do not wait for running calls.")
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    metavar="S",
    help="Seconds to wait for running calls. [the peer's server.drainTimeout]",
)
@click.option("--reason", default="", metavar="TEXT", help="Shown in the peer's log and to its callers.")
@common_options
@setting_options(*CLIENT_SETTINGS)
@click.pass_context
def shutdown(
    context: click.Context,
    /,
    peer: str,
    force: bool,
    timeout: int | None,
    reason: str,
    **given: Any,
) -> ExitCode:
    """Ask PEER, a name from the configuration or host:port, to stop. Your identity must be in its control.admins."""
    using = invocation(context, given, default_log="error")
    return run(_shutdown(peer, force, timeout or 0, reason, using))


async def _shutdown(target: str, force: bool, timeout: int, reason: str, using: Invocation) -> ExitCode:
    async with control(target, using) as caller:
        from tndrl.v1.control_pb2 import ShutdownRequest

        request = ShutdownRequest(graceful=not force, timeout_seconds=timeout, reason=reason)
        answer = await caller.call(caller.stub.Shutdown, request)
        address, identity = caller.peer.address, caller.peer.identity
        if not answer.accepted:
            raise ShutdownRefusedError(address, answer.rejection_reason)
        using.output.write(
            {"event": "shutdown", "address": address, "identity": identity, "accepted": True},
            f"{identity} at {address} shuts down",
        )
    return ExitCode.DONE
