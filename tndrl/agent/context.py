"""Who calls the agent, and what each call says beside its message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import grpc.aio
from a2a.auth.user import User
from a2a.extensions.common import HTTP_EXTENSION_HEADER, get_requested_extensions
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.grpc_handler import GrpcServerCallContextBuilder
from a2a.utils.errors import InvalidParamsError, VersionNotSupportedError

from pki.errors import shown
from tndrl.agent.extensions import AFTER_KEY
from tndrl.transport.registry import peer_identity

VERSION_KEY = "a2a-version"
"""Metadata with the version of A2A that the caller speaks; none means that of the service it calls."""

A2A_VERSION = "a2a_version"
"""Where a call's state holds the version of the service called: "1.0" or "0.3"."""

AFTER_SEQUENCE = "after_sequence"
"""Where a call's state holds the number from :data:`AFTER_KEY`; absent if the caller gave none."""


class SpiffeUser(User):
    """A caller whose certificate was verified; its name owns its tasks."""

    def __init__(self, spiffe_id: str) -> None:
        self._spiffe_id = spiffe_id

    def __repr__(self) -> str:
        return f"<SpiffeUser {self._spiffe_id}>"

    @property
    def is_authenticated(self) -> bool:
        """True: there is none without a verified certificate."""
        return True

    @property
    def user_name(self) -> str:
        """The SPIFFE ID."""
        return self._spiffe_id


class CallContextBuilder(GrpcServerCallContextBuilder):
    """Makes the SDK's call contexts for the service of one ``version`` of A2A.

    The gRPC context is not kept in them: tasks outlive their call, and grpcio crashes when one asks a dead context.
    """

    def __init__(self, version: str) -> None:
        self._version = version

    def build(self, context: grpc.aio.ServicerContext[Any, Any]) -> ServerCallContext:
        """Return the context of one call.

        Raises VersionNotSupportedError for another version than the service's, InvalidParamsError for a sequence
        that is no number, and UsageError for a caller that was not verified.
        """
        self._check_version(context)
        state: dict[str, Any] = {A2A_VERSION: self._version}
        for text in _values(context, AFTER_KEY):
            if not re.fullmatch(r"[0-9]{1,18}", text):
                raise InvalidParamsError(message=f"{AFTER_KEY} must be a number, not '{shown(text)}'")
            state[AFTER_SEQUENCE] = int(text)
        return ServerCallContext(
            user=SpiffeUser(str(peer_identity(context))),
            state=state,
            requested_extensions=get_requested_extensions(list(_values(context, HTTP_EXTENSION_HEADER))),
        )

    def _check_version(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Only major and minor count (A2A 1.0 section 3.6)."""
        for text in _values(context, VERSION_KEY):
            if text and ".".join(text.split(".")[:2]) != self._version:
                raise VersionNotSupportedError(
                    message=f"this service speaks A2A {self._version}, not '{shown(text)}'"
                )


def _values(context: grpc.aio.ServicerContext[Any, Any], key: str) -> Iterator[str]:
    for name, value in context.invocation_metadata() or ():
        if name.lower() == key.lower():
            yield value if isinstance(value, str) else value.decode("ascii", "replace")
