"""The agent's card."""

from __future__ import annotations

import socket

import pytest
from a2a.types import AgentCard
from a2a.utils.proto_utils import validate_proto_required_fields

from pki.spiffe import SpiffeId
from tndrl.agent.card import make_card
from tndrl.agent.extensions import claimed_identity, numbers_events
from tndrl.config import AgentConfig
from tndrl.config.schema import SkillConfig

WHO = SpiffeId.parse("spiffe://tndrl/node/a")


def card(address: str = "127.0.0.1:4433", **settings: object) -> AgentCard:
    return make_card(AgentConfig(**settings), WHO, address)


@pytest.mark.parametrize("skills", [(), (SkillConfig(id="s", name="S"),)])
def test_it_is_complete(skills: tuple[SkillConfig, ...]) -> None:
    """Whatever is configured, it has every field that A2A demands."""
    validate_proto_required_fields(card(skills=skills))


def test_it_says_what_is_configured() -> None:
    """Name, description, streaming, modes and skills are those of the configuration."""
    skill = SkillConfig(id="s", name="S", description="does", tags=("t",), examples=("e",))
    made = card(
        name="n", description="d", streaming=False, input_modes=("text", "data", "text/csv"), skills=(skill,)
    )
    assert (made.name, made.description, made.capabilities.streaming) == ("n", "d", False)
    assert list(made.default_input_modes) == ["text/plain", "application/json", "text/csv"]
    (shown,) = made.skills
    assert (shown.id, shown.name, shown.description) == ("s", "S", "does")
    assert (list(shown.tags), list(shown.examples)) == (["t"], ["e"])


def test_it_says_whose_it_is() -> None:
    """The node's SPIFFE ID stands in it, and that events are numbered; nothing of it must be understood."""
    made = card()
    assert claimed_identity(made) == str(WHO)
    assert numbers_events(made)
    assert not any(extension.required for extension in made.capabilities.extensions)


def test_both_versions() -> None:
    """It names gRPC interfaces of both versions, the newer one first, at the address of the node."""
    urls = [(one.url, one.protocol_binding, one.protocol_version) for one in card().supported_interfaces]
    assert urls == [("127.0.0.1:4433", "GRPC", "1.0"), ("127.0.0.1:4433", "GRPC", "0.3")]


@pytest.mark.parametrize("address", ["[::]:4433", "0.0.0.0:4433"])
def test_an_address_to_call(address: str) -> None:
    """A node that listens on every address is called by the name of its host."""
    assert card(address).supported_interfaces[0].url == f"{socket.gethostname()}:4433"


def test_it_demands_a_certificate() -> None:
    """The one way in is mutual TLS."""
    made = card()
    assert made.security_schemes["mtls"].HasField("mtls_security_scheme")
    assert [list(one.schemes) for one in made.security_requirements] == [["mtls"]]
