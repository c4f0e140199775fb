"""``tndrl prompt``: ask a peer's agent."""

from __future__ import annotations

from typing import Any

import click

from tndrl_cli.agents import AnswerWriter, agent_of, as_record, check_outcome, readable, task_text, text_of
from tndrl_cli.client import run
from tndrl_cli.errors import ExitCode
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options


@click.command(short_help="Ask a peer's agent.")
@click.argument("peer")
@click.argument("text")
@click.option("-s", "--stream", is_flag=True, help="Write the answer as it comes.")
@click.option("--task", "task_id", default="", metavar="ID", help="Answer a task that waits for you.")
@click.option("--context", "context_id", default="", metavar="ID", help="Go on with a conversation.")
@common_options
@setting_options(*CLIENT_SETTINGS)
@click.pass_context
def prompt(
    context: click.Context,
    /,
    peer: str,
    text: str,
    stream: bool,
    task_id: str,
    context_id: str,
    **given: Any,
) -> ExitCode:
    """Send TEXT to the agent of PEER, a name from the configuration or host:port, and write the answer.

    With -s it is written as it comes; if the connection is lost, it goes on where it was. Ctrl-C ends the command, not
    the task. -o json names the task and the conversation.
    """
    using = invocation(context, given, default_log="error")
    ids = {"task_id": task_id, "context_id": context_id}
    return run(_stream(peer, text, ids, using) if stream else _send(peer, text, ids, using))


async def _stream(target: str, text: str, ids: dict[str, str], using: Invocation) -> ExitCode:
    async with agent_of(target, using) as agent:
        await AnswerWriter(agent.address, using.output).write(agent.stream(text, **ids))
    return ExitCode.DONE


async def _send(target: str, text: str, ids: dict[str, str], using: Invocation) -> ExitCode:
    from a2a.types.a2a_pb2 import Message

    async with agent_of(target, using) as agent:
        answer = await agent.send(text, **ids)
        if isinstance(answer, Message):
            record = {"task_id": "", "context_id": answer.context_id, "state": "COMPLETED", "updated": ""}
            said = text_of(answer.parts)
        else:
            record, said = as_record(answer), task_text(answer)
        about = {"event": "answer", "address": agent.address, "identity": agent.identity}
        if using.output.as_json or said:
            using.output.write({**about, **record, "text": said}, readable(said))
        check_outcome(agent.address, record["task_id"], record["state"], record.get("reason", ""))
    return ExitCode.DONE
