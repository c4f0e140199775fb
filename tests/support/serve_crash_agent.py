"""``tndrl serve`` with an agent that does what its messages say: the arguments are those of the command.

``end``: a few chunks, COMPLETED. ``ask``: INPUT_REQUIRED. ``hold``: a chunk, and WORKING for ever.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from a2a.server.agent_execution import RequestContext
from a2a.server.events import EventQueue

import tndrl
from tndrl_cli.app import main

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.durable import COMPLETED, INPUT_REQUIRED, Scripted, answering


async def obey(context: RequestContext, queue: EventQueue) -> None:
    """Do what the message says."""
    text = context.get_user_input()
    gate = asyncio.Event() if text == "hold" else None
    end = INPUT_REQUIRED if text == "ask" else COMPLETED
    await answering("a", "b", "c", end=end, gate=gate)(context, queue)


class CrashNode(tndrl.Node):
    """A node that has the agent from the start."""

    def __init__(self, config: tndrl.Config) -> None:
        super().__init__(config, executor=Scripted(obey))


tempfile.tempdir = str(Path(sys.argv[-1]).parent)  # a killed node leaves its sockets behind
tndrl.Node = CrashNode
sys.exit(main(["serve", *sys.argv[1:]]))
