"""``tndrl serve``: run a node."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import click

from tndrl_cli.client import run
from tndrl_cli.errors import ExitCode
from tndrl_cli.options import SERVE_SETTINGS, Invocation, common_options, invocation, setting_options

if TYPE_CHECKING:
    from tndrl import Node


@click.command(short_help="Run a node.")
@common_options
@setting_options(*SERVE_SETTINGS)
@click.pass_context
def serve(context: click.Context, /, **given: Any) -> ExitCode:
    """Run a node until it is told to stop, by SIGTERM, SIGINT or an admin.

    When it is ready it writes one line with its address and identity. Told to stop, it lets running calls finish, for
    server.drainTimeout at most; a second signal ends it at once. The exit code is 0 if every call could finish, else 1.
    """
    return run(_serve(invocation(context, given)))


async def _serve(using: Invocation) -> ExitCode:
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Before anything is loaded, so that no signal finds the process without its handler.
        asyncio.get_running_loop().add_signal_handler(number, received.put_nowait, number)
    import tndrl

    node = tndrl.Node(using.config)
    async with asyncio.TaskGroup() as tasks:
        obeying = tasks.create_task(_obey(received, node, tasks))
        async with node:
            if node.state.name in ("READY", "BUSY"):  # and not told to stop before it was
                using.output.write(
                    {"event": "ready", "address": node.address, "identity": node.identity},
                    f"ready: {node.identity} at {node.address}",
                )
            drained = await node.wait_stopped()
        obeying.cancel()
    return ExitCode.DONE if drained else ExitCode.FAILED


async def _obey(received: asyncio.Queue[signal.Signals], node: Node, tasks: asyncio.TaskGroup) -> None:
    """Stop the node at the first signal, and at once at any later one."""
    graceful = True
    while True:
        name = (await received.get()).name
        tasks.create_task(node.stop(graceful=graceful, reason=f"it received {name}"))
        graceful = False
