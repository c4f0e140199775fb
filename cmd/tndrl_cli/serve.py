"""``tndrl serve``: run a node."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import click

from tndrl.node.signals import StopSignals
from tndrl_cli.client import run
from tndrl_cli.errors import ExitCode
from tndrl_cli.options import SERVE_SETTINGS, Invocation, common_options, invocation, setting_options


@click.command(short_help="Run a node.")
@common_options
@setting_options(*SERVE_SETTINGS)
@click.pass_context
def serve(context: click.Context, /, **given: Any) -> ExitCode:
    """Run a node until it is told to stop, by SIGTERM, SIGINT or an admin.

    When it is ready it writes one line with its address and identity. Told to stop, it lets running calls finish, for
    server.drainTimeout at most; a second signal ends it at once. The exit code is 0 if every call could finish, else 1.
    """
    return run(_serve(invocation(context, given), _settle))


async def _serve(using: Invocation, when_loaded: Callable[[], None]) -> ExitCode:
    with (
        StopSignals() as signals
    ):  # before anything heavy is loaded, so that no signal finds us without a handler
        import tndrl

        node = tndrl.Node(using.config)
        signals.obeyed_by(node)
        async with node:
            when_loaded()
            if node.state.name in ("READY", "BUSY"):  # and not told to stop before it was
                using.output.write(
                    {"event": "ready", "address": node.address, "identity": node.identity},
                    f"ready: {node.identity} at {node.address}",
                )
            drained = await node.wait_stopped()
    return ExitCode.DONE if drained else ExitCode.FAILED


def _settle() -> None:
    """Take what was loaded out of the collector's sight: it stays, and to look through it holds all peers up."""
    gc.collect()
    gc.freeze()
