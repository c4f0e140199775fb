"""``tndrl task``: the tasks that a peer's agent does for us."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tndrl.errors import peer_text
from tndrl_cli.agents import AnswerWriter, agent_of, as_record, message_record, readable, task_text, text_of
from tndrl_cli.client import run
from tndrl_cli.errors import ExitCode
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options

if TYPE_CHECKING:
    from a2a.types.a2a_pb2 import Task


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of this file."""
        return list(self.commands)


@click.group(cls=_InOrder, short_help="Read, follow or cancel a peer's tasks for you.")
def task() -> None:
    """Read, list, cancel or follow the tasks that the agent of a peer does for your identity.

    Nobody else sees them: to others their IDs do not exist.
    """


def _command(name: str, short_help: str) -> Callable[[Callable[..., ExitCode]], click.Command]:
    """Return what makes a subcommand of a function, with the options that all have."""

    def make(function: Callable[..., ExitCode]) -> click.Command:
        options = common_options(setting_options(*CLIENT_SETTINGS)(click.pass_context(function)))
        return task.command(name, short_help=short_help)(click.argument("peer")(options))

    return make


@_command("get", "Show a task.")
@click.argument("task_id", metavar="ID")
def get(context: click.Context, /, peer: str, task_id: str, **given: Any) -> ExitCode:
    """Show the task ID of the agent of PEER with its answer."""
    return run(_get(peer, task_id, invocation(context, given, default_log="error")))


@_command("list", "List tasks.")
@click.option("--context", "context_id", default="", metavar="ID", help="Those of one conversation only.")
@click.option("-n", "limit", type=click.IntRange(min=1), default=100, help="How many at most. [100]")
def list_(context: click.Context, /, peer: str, context_id: str, limit: int, **given: Any) -> ExitCode:
    """List your tasks at the agent of PEER, the latest first. Agents of A2A 0.3 have no such list."""
    return run(_list(peer, context_id, limit, invocation(context, given, default_log="error")))


@_command("cancel", "Cancel a task.")
@click.argument("task_id", metavar="ID")
def cancel(context: click.Context, /, peer: str, task_id: str, **given: Any) -> ExitCode:
    """Cancel the task ID of the agent of PEER."""
    return run(_cancel(peer, task_id, invocation(context, given, default_log="error")))


@_command("watch", "Follow a task.")
@click.argument("task_id", metavar="ID")
def watch(context: click.Context, /, peer: str, task_id: str, **given: Any) -> ExitCode:
    """Write the answer of the task ID of the agent of PEER from its beginning, and go on as it comes."""
    return run(_watch(peer, task_id, invocation(context, given, default_log="error")))


async def _get(target: str, task_id: str, using: Invocation) -> ExitCode:
    async with agent_of(target, using) as agent:
        found = await agent.get(task_id)
        record = as_record(found)
        more = {
            "text": task_text(found),
            "artifacts": [
                {"artifact_id": artifact.artifact_id, "name": artifact.name, "text": text_of(artifact.parts)}
                for artifact in found.artifacts
            ],
            "history": [message_record(message) for message in found.history],
        }
        about = {"address": agent.address, "identity": agent.identity}
        using.output.write({**about, **record, **more}, as_text(record, task_text(found)))
    return ExitCode.DONE


async def _list(target: str, context_id: str, limit: int, using: Invocation) -> ExitCode:
    async with agent_of(target, using) as agent:
        tasks = await agent.list(context_id=context_id, limit=limit)
        for one in tasks:
            using.output.write(as_record(one), as_line(one))
        if not tasks and not using.output.as_json:
            using.output.write({}, f"no tasks at {agent.identity}")
    return ExitCode.DONE


async def _cancel(target: str, task_id: str, using: Invocation) -> ExitCode:
    async with agent_of(target, using) as agent:
        record = as_record(await agent.cancel(task_id))
        about = {"event": "cancel", "address": agent.address, "identity": agent.identity}
        using.output.write({**about, **record}, f"task {peer_text(record['task_id'])} is {record['state']}")
    return ExitCode.DONE if record["state"] == "CANCELED" else ExitCode.FAILED


async def _watch(target: str, task_id: str, using: Invocation) -> ExitCode:
    async with agent_of(target, using) as agent:
        await AnswerWriter(agent.address, using.output).write(agent.watch(task_id))
    return ExitCode.DONE


def as_text(record: dict[str, Any], answer: str) -> str:
    """Return a line per fact and the answer below; IDs are escaped and shortened, the answer is escaped."""
    width = max(map(len, record))
    facts = "\n".join(f"{name:<{width}}  {peer_text(value)}".rstrip() for name, value in record.items())
    return f"{facts}\n\n{readable(answer)}" if answer else facts


def as_line(one: Task) -> str:
    """Return a task on one line."""
    record = as_record(one)
    return f"{peer_text(record['task_id'])}  {record['state']:<14}  {record['updated']}".rstrip()
