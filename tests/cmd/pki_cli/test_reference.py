from __future__ import annotations

from pathlib import Path

from pki_cli.app import cli
from pki_cli.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "pki.md"


def test_page_repeats_the_commands() -> None:
    """The reference on the page is what the commands say of themselves."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- reference -->\n")
    assert rest.partition("<!-- end of reference -->")[0] == reference()


def test_every_option_is_there() -> None:
    """Every command and every option of it is in the reference."""
    text = reference()
    for name, command in cli.commands.items():
        section = text.partition(f"### `tndrl-pki {name} ")[2].partition("### ")[0]
        assert all(
            option in section for one in command.params for option in one.opts if option.startswith("-")
        )
        assert section
