"""The reference tables."""

import subprocess
import sys
from pathlib import Path

from tndrl.config import SETTINGS
from tndrl.config.reference import reference

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_page_is_current():
    """The tables in docs/configuration.md are those that the schema gives."""
    text = DOCS.read_text(encoding="utf-8")
    stands = text.partition("<!-- reference -->\n")[2].partition("<!-- /reference -->")[0]
    assert stands == reference(), "run: python -m tndrl.config.reference, and paste it between the markers"


def test_command():
    """The module prints the tables."""
    command = [sys.executable, "-m", "tndrl.config.reference"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == reference()


def test_every_setting_has_a_row():
    """Each setting stands in the tables with its variable and its flag."""
    rows = reference().splitlines()
    for setting in SETTINGS.values():
        (row,) = [line for line in rows if line.startswith(f"| `{setting.key}` |")]
        assert f"`{setting.env}`" in row or setting.env is None
        assert f"`{setting.flag}`" in row or setting.flag is None


def test_list_sections_have_tables():
    """Peers, skills and MCP servers are described too."""
    titles = [line for line in reference().splitlines() if line.startswith("### ")]
    assert "### `peers[]`" in titles
    assert "### `agent.skills[]`" in titles
    assert "### `llm.mcpServers.<name>` with `type: builtin`" in titles
