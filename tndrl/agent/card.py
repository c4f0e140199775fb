"""The agent's card, from the configuration and the node's identity."""

from __future__ import annotations

import socket

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    MutualTlsSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)

from pki.spiffe import SpiffeId
from tndrl._version import __version__
from tndrl.agent.extensions import ID_PARAMETER, SEQUENCE, SPIFFE_ID
from tndrl.config import AgentConfig, parse_address
from tndrl.config.schema import SkillConfig

MEDIA_TYPES = {"text": "text/plain", "data": "application/json"}
"""What the configuration calls a mode in one word -> its media type. Other modes stand for themselves."""

MTLS = "mtls"


def make_card(config: AgentConfig, identity: SpiffeId, address: str) -> AgentCard:
    """Return the card of the agent that ``identity`` serves at ``address``, ``host:port`` as it is bound.

    Has every field that A2A 1.0 section 4.4.1 demands, and an interface of 0.3 too, without which its callers get none.
    """
    name = config.name or identity.path.rpartition("/")[2]
    return AgentCard(
        name=name,
        description=config.description or f"The agent of {identity}.",
        version=__version__,
        supported_interfaces=[
            AgentInterface(url=_reachable(address), protocol_binding="GRPC", protocol_version=version)
            for version in ("1.0", "0.3")
        ],
        capabilities=AgentCapabilities(
            streaming=config.streaming, extended_agent_card=True, extensions=_extensions(identity)
        ),
        default_input_modes=media_types(config.input_modes),
        default_output_modes=media_types(config.output_modes),
        skills=[_skill(skill) for skill in config.skills or (_PROMPT,)],
        security_schemes={MTLS: SecurityScheme(mtls_security_scheme=MutualTlsSecurityScheme())},
        security_requirements=[SecurityRequirement(schemes={MTLS: StringList()})],
    )


def media_types(modes: tuple[str, ...]) -> list[str]:
    """Return modes of the configuration as media types."""
    return [MEDIA_TYPES.get(mode, mode) for mode in modes]


_PROMPT = SkillConfig(id="prompt", name="Prompt", description="Answers prompts.")


def _skill(skill: SkillConfig) -> AgentSkill:
    """A2A wants a description and a tag in each skill; what was not configured is the skill's name and ID."""
    return AgentSkill(
        id=skill.id,
        name=skill.name,
        description=skill.description or skill.name,
        tags=skill.tags or (skill.id,),
        examples=skill.examples,
    )


def _extensions(identity: SpiffeId) -> list[AgentExtension]:
    whose = AgentExtension(uri=SPIFFE_ID, description="The SPIFFE ID in the certificate of the agent's node.")
    whose.params.update({ID_PARAMETER: str(identity)})
    return [
        whose,
        AgentExtension(
            uri=SEQUENCE, description="Events are numbered; a subscription may name the last one seen."
        ),
    ]


def _reachable(address: str) -> str:
    """Every address of the host is no address to call: name the host."""
    place = parse_address(address)
    return f"{socket.gethostname()}:{place.port}" if place.host in ("::", "0.0.0.0") else address  # noqa: S104
