"""What Tndrl adds to A2A."""

from __future__ import annotations

import pytest
from a2a.types.a2a_pb2 import AgentCard, StreamResponse

from support import scripted_agent as scripted
from tndrl.agent.extensions import SEQUENCE, SPIFFE_ID, claimed_identity, numbers_events, sequence_of


def test_a_card_claims_an_identity() -> None:
    """The ID stands in the extension's parameters."""
    assert claimed_identity(scripted.card(identity="spiffe://x/y")) == "spiffe://x/y"


def test_a_card_may_claim_nothing() -> None:
    """Cards of others have no such extension."""
    assert claimed_identity(AgentCard()) is None


def test_an_extension_without_an_id_claims_a_wrong_one() -> None:
    """A card that names nobody is nobody's."""
    card = AgentCard()
    card.capabilities.extensions.add(uri=SPIFFE_ID)
    assert claimed_identity(card) == ""


def test_numbered_events_are_announced() -> None:
    """Only a card with the extension promises numbers."""
    assert numbers_events(scripted.card())
    assert not numbers_events(scripted.card(numbered=False))


def test_each_kind_of_event_has_its_number() -> None:
    """Tasks, pieces and states carry it in their metadata."""
    assert [sequence_of(event) for event in scripted.answer(1)] == [1, 2, 3]


@pytest.mark.parametrize("number", ["1", None, 1.5, float("inf"), float("nan")])
def test_odd_numbers_are_none(number: object) -> None:
    """What is no whole number does not count; text is 0, below every number."""
    event = scripted.chunk("x")
    event.artifact_update.metadata.update({SEQUENCE: number})
    assert not sequence_of(event)


def test_no_number() -> None:
    """Plain events and empty ones have none."""
    assert sequence_of(scripted.chunk("x")) is None
    assert sequence_of(StreamResponse()) is None
