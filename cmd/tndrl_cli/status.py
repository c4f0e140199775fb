"""``tndrl status``: how a peer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tndrl.errors import peer_text
from tndrl_cli.client import control, run
from tndrl_cli.errors import ExitCode
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options

if TYPE_CHECKING:
    from tndrl.v1.control_pb2 import GetStatusResponse


@click.command(short_help="Ask a peer how it is.")
@click.argument("peer")
@common_options
@setting_options(*CLIENT_SETTINGS)
@click.pass_context
def status(context: click.Context, /, peer: str, **given: Any) -> ExitCode:
    """Ask PEER, a name from the configuration or host:port, for its identity, state, tasks and counters."""
    return run(_status(peer, invocation(context, given, default_log="error")))


async def _status(target: str, using: Invocation) -> ExitCode:
    async with control(target, using) as caller:
        from tndrl.v1.control_pb2 import GetStatusRequest

        answer = await caller.call(caller.stub.GetStatus, GetStatusRequest())
        record = as_record(answer)
        using.output.write({"address": caller.peer.address, **record}, as_text(caller.peer.address, record))
    return ExitCode.DONE


def as_record(answer: GetStatusResponse) -> dict[str, Any]:
    """Return an answer as plain data; a state that this version does not know is its number."""
    from tndrl.v1.control_pb2 import NodeState

    known = answer.state in NodeState.values()
    return {
        "identity": answer.identity,
        "state": NodeState.Name(answer.state).removeprefix("NODE_STATE_")
        if known
        else str(int(answer.state)),
        "uptime_seconds": answer.uptime_seconds,
        "active_tasks": answer.active_tasks,
        "metadata": dict(sorted(answer.metadata.items())),
    }


def as_text(address: str, record: dict[str, Any]) -> str:
    """Return the lines for a person; what the peer wrote is escaped and shortened."""
    fields: dict[str, Any] = {"address": address, **record}
    metadata = fields.pop("metadata")
    fields |= {peer_text(key, 60): value for key, value in metadata.items() if key not in fields}
    width = max(map(len, fields))
    return "\n".join(f"{name:<{width}}  {peer_text(str(value))}" for name, value in fields.items())
