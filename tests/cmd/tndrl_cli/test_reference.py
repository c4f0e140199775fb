"""The reference part of the command's page."""

import subprocess
import sys
from pathlib import Path

from tndrl_cli.app import COMMANDS
from tndrl_cli.reference import WIDTH, reference

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


def test_page_is_current():
    """The help texts in docs/cli.md are those of the commands."""
    text = DOCS.read_text(encoding="utf-8")
    stands = text.partition("<!-- reference -->\n")[2].partition("<!-- /reference -->")[0]
    assert stands == reference(), "run: python -m tndrl_cli.reference, and paste it between the markers"


def test_every_command():
    """Each command has a section with its usage, no line too wide."""
    lines = reference().splitlines()
    assert all(any(line.startswith(f"Usage: tndrl {name} [OPTIONS]") for line in lines) for name in COMMANDS)
    assert any(line.startswith("Usage: tndrl task watch [OPTIONS] PEER ID") for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_command():
    """The module prints the texts, whatever the terminal's width."""
    command = [sys.executable, "-m", "tndrl_cli.reference"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"COLUMNS": "40"})
    assert done.stdout == reference()
