"""``tndrl serve`` with the workshop under 0x10: the arguments are those of the command.

The variable ``WORKSHOP_PRIORITY`` is the class of its answers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tndrl
from tndrl_cli.app import main

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.workshop import TYPE, Workshop


class WorkshopNode(tndrl.Node):
    """A node that has the service from the start."""

    def __init__(self, config: tndrl.Config) -> None:
        super().__init__(config)
        priority = tndrl.Priority[os.environ.get("WORKSHOP_PRIORITY", "MEDIUM")]
        self.add_service(TYPE, Workshop().add_to, priority=priority)


tndrl.Node = WorkshopNode
sys.exit(main(["serve", *sys.argv[1:]]))
