"""What Tndrl adds to A2A, by the means that A2A has for it: plain clients and servers are not disturbed.

``urn:tndrl:spiffe-id`` in the card says whose agent it is. ``urn:tndrl:sequence`` in the card says that the events of
each task are numbered from 1 in their metadata, that a subscription may name the last number it has seen, and that a
message repeated with its message ID is not answered a second time.
"""

from __future__ import annotations

from a2a.types import a2a_pb2
from google.protobuf.struct_pb2 import Struct

SPIFFE_ID = "urn:tndrl:spiffe-id"
"""Extension of the card; its parameter ``id`` is the SPIFFE ID."""
ID_PARAMETER = "id"

SEQUENCE = "urn:tndrl:sequence"
"""Extension of the card, and the key of the number in an event's metadata."""

AFTER_KEY = "tndrl-after-sequence"
"""Metadata of a subscription: the number of the last event that the subscriber has."""


def claimed_identity(card: a2a_pb2.AgentCard) -> str | None:
    """Return the SPIFFE ID that a card claims, None if it claims none."""
    for extension in card.capabilities.extensions:
        if extension.uri == SPIFFE_ID:
            return extension.params.fields[ID_PARAMETER].string_value
    return None


def numbers_events(card: a2a_pb2.AgentCard) -> bool:
    """Whether the agent numbers its events and repeats no work for a repeated message."""
    return any(extension.uri == SEQUENCE for extension in card.capabilities.extensions)


def sequence_of(event: a2a_pb2.StreamResponse) -> int | None:
    """Return an event's number in its task, None where it has none."""
    metadata: Struct = getattr(event, event.WhichOneof("payload") or "message").metadata
    if SEQUENCE not in metadata.fields:
        return None
    number = metadata.fields[SEQUENCE].number_value
    return int(number) if number.is_integer() else None
