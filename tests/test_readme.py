"""What the README shows is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tndrl

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", ["status.py", "agent.py", "greeter/service.py", "greeter/client.py"])
def test_python_blocks_are_the_examples(example: str) -> None:
    """Each example stands in the README as it is."""
    assert (ROOT / "examples" / example).read_text(encoding="utf-8") in blocks("python")


def test_there_is_no_other_python_block() -> None:
    """No Python stands in the README that no example has."""
    assert len(blocks("python")) == 4


def test_make_targets_exist() -> None:
    """Every make command of the README is one."""
    wanted = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks("sh")), re.MULTILINE))
    targets = set(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert wanted <= {name for line in targets for name in line.split()}


def test_the_configuration_loads(tmp_path: Path) -> None:
    """The README's configuration is accepted as it stands."""
    (tmp_path / "node.yaml").write_text(blocks("yaml")[0])
    assert tndrl.load_config(tmp_path / "node.yaml")


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/README.md", "docs/decisions/README.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    """Every file that a page for people links to is there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []
