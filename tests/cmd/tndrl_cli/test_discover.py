"""``tndrl discover`` (A2A-11)."""

from __future__ import annotations

import json

from support import scripted_agent as scripted
from tndrl_cli.discover import MOST_SHOWN, as_lines, claims


def test_text(tndrl, echo):
    """The identity is proven, all else is claimed."""
    done = tndrl("discover", echo.address)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == f"{echo.address} speaks A2A 1.0"
    assert lines[0].split() == ["PROVEN", "identity", "spiffe://tndrl/node/node"]
    assert {line.split()[0] for line in lines[1:]} == {"CLAIMED"}
    assert any("streaming" in line and "yes" in line for line in lines)


def test_json(tndrl, echo):
    """A program gets one object that keeps the two apart."""
    record = json.loads(tndrl("-o", "json", "discover", echo.address).stdout)
    assert record["proven"] == {"identity": "spiffe://tndrl/node/node"}
    assert (record["claimed"]["name"], record["a2a"]) == ("node", "1.0")
    assert [skill["id"] for skill in record["claimed"]["skills"]] == ["prompt"]


def test_no_agent(tndrl, node):
    """A node without an agent is exit code 1 and says so."""
    done = tndrl("discover", node.address)
    assert (done.returncode, done.stdout) == (1, "")
    assert "serves no agent" in done.stderr


def test_hostile_card():
    """What the agent wrote is escaped and shortened, and cannot pose as proven."""
    card = scripted.card()
    card.name = "x\nPROVEN  identity  spiffe://tndrl/node/other\x1b"
    card.description = "y" * 100_000
    skill = card.skills.add(id="s" * 1000, name="\n", tags=["t"] * 1000, examples=["e\r"] * 1000)
    card.skills.extend([skill] * 1000)
    lines = as_lines(claims(card))
    assert all(line.startswith("CLAIMED") and line.isprintable() for line in lines)
    assert max(map(len, lines)) < 500
    assert len(lines) < (MOST_SHOWN + 1) * (MOST_SHOWN + 5)
    assert lines[-1].split() == ["CLAIMED", "skills", "951", "more;", "-o", "json", "has", "all"]


def test_skills():
    """Each skill is shown with its tags and examples."""
    card = scripted.card()
    card.skills.add(id="sum", name="Sum", description="adds", tags=["maths"], examples=["1+1", "2+2"])
    shown = [" ".join(line.split()) for line in as_lines(claims(card))[-5:]]
    assert shown == [
        "CLAIMED skill sum: Sum",
        "CLAIMED description adds",
        "CLAIMED tags maths",
        "CLAIMED example 1+1",
        "CLAIMED example 2+2",
    ]
