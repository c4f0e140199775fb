"""Which version a peer speaks, and whether its card is to be believed (A2A-11)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import nodes
from support import scripted_agent as scripted
from support.scripted_agent import Script, Scripted03, Scripted10
from tndrl.agent.discovery import MAX_CARD, discover
from tndrl.errors import AgentCallError, CardIdentityError, NoAgentError


async def found(folder: Path, script: Script, *versions: type) -> tuple[str, str]:
    """Return the version that is found and the card's name."""
    async with scripted.serving(folder, script, versions) as line:
        version, card = await discover(line, 5)
    return version, card.name


@pytest.mark.parametrize(
    ("versions", "expected"),
    [([Scripted10], "1.0"), ([Scripted03], "0.3"), ([Scripted10, Scripted03], "1.0")],
)
async def test_the_newest_version_is_found(short_dir, versions, expected) -> None:
    """Whatever the agent serves is spoken, 1.0 first."""
    assert await found(short_dir, Script(), *versions) == (expected, "scripted")


async def test_neither_version(short_dir) -> None:
    """A server without A2A is named as that."""
    with pytest.raises(AgentCallError) as caught:
        await found(short_dir, Script())
    assert caught.value.status == "UNIMPLEMENTED"


@pytest.mark.parametrize("version", [Scripted10, Scripted03])
@pytest.mark.parametrize("claimed", ["spiffe://tndrl/node/b", ""])
async def test_a_card_of_somebody_else_is_refused(short_dir, version, claimed) -> None:
    """The certificate proves who it is; a card that says otherwise is not used."""
    with pytest.raises(CardIdentityError) as caught:
        await found(short_dir, Script(card=scripted.card(identity=claimed)), version)
    assert (caught.value.identity, caught.value.claimed) == (scripted.IDENTITY, claimed)


async def test_a_card_without_an_identity_is_accepted(short_dir) -> None:
    """Agents of others claim nothing."""
    card = scripted.card(identity=None)
    assert await found(short_dir, Script(card=card), Scripted10) == ("1.0", "scripted")


async def test_a_huge_card_is_refused(short_dir) -> None:
    """More than 1 MiB is not read."""
    card = scripted.card()
    card.description = "x" * MAX_CARD
    with pytest.raises(AgentCallError) as caught:
        await found(short_dir, Script(card=card), Scripted10)
    assert caught.value.status == "RESOURCE_EXHAUSTED"


async def test_a_silent_agent_is_given_up(short_dir) -> None:
    """The time for an answer is bounded."""
    async with scripted.serving(short_dir, Script()) as line:
        with pytest.raises(AgentCallError) as caught:
            await discover(line, 0)
    assert caught.value.status == "DEADLINE_EXCEEDED"


async def test_a_node_without_an_agent(short_dir) -> None:
    """It is told apart from one that is broken."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        with pytest.raises(NoAgentError, match=node.address):
            await discover(peer, 5)
