"""``tndrl discover``: who a peer's agent is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from tndrl.errors import peer_text
from tndrl_cli.agents import agent_of
from tndrl_cli.client import run
from tndrl_cli.errors import ExitCode
from tndrl_cli.options import CLIENT_SETTINGS, Invocation, common_options, invocation, setting_options

if TYPE_CHECKING:
    from a2a.types.a2a_pb2 import AgentCard

MOST_SHOWN = 50
"""Skills, and tags or examples of one, that a person is shown."""


@click.command(short_help="Show who a peer's agent is.")
@click.argument("peer")
@common_options
@setting_options(*CLIENT_SETTINGS)
@click.pass_context
def discover(context: click.Context, /, peer: str, **given: Any) -> ExitCode:
    """Show the card of the agent of PEER, a name from the configuration or host:port.

    The identity is PROVEN by the certificate of the peer's node. All else is CLAIMED by the agent itself. A card that
    names another identity than the certificate is refused (exit code 4).
    """
    return run(_discover(peer, invocation(context, given, default_log="error")))


async def _discover(target: str, using: Invocation) -> ExitCode:
    async with agent_of(target, using) as agent:
        about = {"address": agent.address, "a2a": agent.version}
        claimed = claims(agent.card)
        using.output.write(
            {**about, "proven": {"identity": agent.identity}, "claimed": claimed},
            "\n".join(
                [
                    f"{agent.address} speaks A2A {agent.version}",
                    _line("PROVEN", "identity", agent.identity),
                    *as_lines(claimed),
                ]
            ),
        )
    return ExitCode.DONE


def claims(card: AgentCard) -> dict[str, Any]:
    """Return what a card says as plain data."""
    return {
        "name": card.name,
        "description": card.description,
        "version": card.version,
        "provider": card.provider.organization,
        "documentation": card.documentation_url,
        "streaming": card.capabilities.streaming,
        "input_modes": list(card.default_input_modes),
        "output_modes": list(card.default_output_modes),
        "extensions": [extension.uri for extension in card.capabilities.extensions],
        "skills": [
            {
                "id": skill.id,
                "name": skill.name,
                "description": skill.description,
                "tags": list(skill.tags),
                "examples": list(skill.examples),
            }
            for skill in card.skills
        ],
    }


def as_lines(claimed: dict[str, Any]) -> list[str]:
    """Return a line per claim for a person; what the agent wrote is escaped and shortened."""
    shown = []
    for name, value in claimed.items():
        if name == "skills":
            continue
        text = ", ".join(_some(value)) if isinstance(value, list) else _plain(value)
        if text:
            shown.append(_line("CLAIMED", name.replace("_", " "), text))
    skills = claimed["skills"]
    for skill in skills[:MOST_SHOWN]:
        shown.append(
            _line("CLAIMED", "skill", f"{peer_text(skill['id'], 60)}: {peer_text(skill['name'], 60)}")
        )
        shown += [
            _line("CLAIMED", f"  {name}", text)
            for name, text in (
                ("description", peer_text(skill["description"])),
                ("tags", ", ".join(_some(skill["tags"]))),
                *(("example", example) for example in _some(skill["examples"])),
            )
            if text
        ]
    if len(skills) > MOST_SHOWN:
        shown.append(_line("CLAIMED", "skills", f"{len(skills) - MOST_SHOWN} more; -o json has all"))
    return shown


def _line(standing: str, name: str, text: str) -> str:
    return f"{standing:<7}  {name:<13}  {text}"


def _plain(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else peer_text(str(value))


def _some(values: Iterable[str]) -> list[str]:
    texts = list(values)
    more = [f"{len(texts) - MOST_SHOWN} more"] if len(texts) > MOST_SHOWN else []
    return [peer_text(text, 100) for text in texts[:MOST_SHOWN]] + more
