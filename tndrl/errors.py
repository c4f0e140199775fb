"""Everything Tndrl raises, in one tree.

TndrlError
├── ConfigError                 a setting, file or key that cannot be used       (exit code 2)
├── UsageError                  the library was called in a way it cannot be
│   └── StateTransitionError    a node was asked for a step its state does not allow
├── ConnectError                no connection could be made                      (exit code 3)
│   ├── NameResolutionError     the host name means no address
│   ├── NoRouteError            no route leads to the address
│   ├── NoAnswerError           nothing came back in time
│   ├── PortClosedError         the host says that nobody listens there
│   ├── AlpnMismatchError       somebody answered, but does not speak ``tndrl``
│   └── RefusedError            the peer has as many connections as it takes
├── IdentityError               a certificate or an identity was refused         (exit code 4)
│   ├── PeerCertificateError    we refused the peer's
│   │   └── WrongIdentityError  it is valid, and somebody else's
│   └── CertificateRefusedError the peer refused ours
├── AgentError                  an agent could not do what it was asked
│   ├── ProviderError           what answers its prompts failed
│   ├── AgentCallError          a peer's agent refused a call or failed it       (exit code 1)
│   ├── NoAgentError            the peer serves no agent
│   └── CardIdentityError       its card names somebody else than its certificate (exit code 4)
├── ConnectionClosedError       a connection that lived is gone
│   └── StatelessResetError     the peer knows it no more: it was restarted
└── StreamClosedError           one stream is gone, its connection lives
    ├── StreamResetError        with a code, by either side
    └── StreamRefusedError      before it carried anything

Exceptions carry facts as attributes and ``str`` writes the sentence: the thing, the cause and the cure. Branch on
the class and the attributes, never on the text. Text that a peer sent is escaped and shortened.
"""

from __future__ import annotations

from typing import ClassVar

from pki.errors import shown

peer_text = shown
"""Return a peer's words made safe to print: escaped to ASCII and shortened, to 200 characters unless told otherwise."""


class TndrlError(Exception):
    """The root of the tree. Catch it to catch everything Tndrl raises."""


class ConfigError(TndrlError):
    """A setting, a file or a key that cannot be used.

    ``source`` names where it was set (a file, a variable, a flag), ``line`` the line in that file, ``key`` the
    dotted configuration key; each is None where it is not known.
    """

    def __init__(
        self, problem: str, *, key: str | None = None, source: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key
        self.source = source
        self.line = line

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line) if part is not None)
        return ": ".join(part for part in (place, self.key, self.problem) if part)


class UsageError(TndrlError):
    """The library was called in a way it cannot be: closed already, from another event loop, a type twice."""


class StateTransitionError(UsageError):
    """A node was asked for a step that its state does not allow."""

    def __init__(self, current: str, wanted: str) -> None:
        super().__init__(current, wanted)
        self.current = current
        self.wanted = wanted

    def __str__(self) -> str:
        return f"a node that is {self.current} cannot become {self.wanted}"


class ConnectError(TndrlError):
    """No connection could be made to ``address``. ``detail`` says what was seen."""

    def __init__(self, address: str, detail: str = "") -> None:
        super().__init__(address, detail)
        self.address = address
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot connect to {self.address}" + (f": {self.detail}" if self.detail else "")


class NameResolutionError(ConnectError):
    """The host name means no address."""

    def __str__(self) -> str:
        return f"cannot find {self.address}: {self.detail}; check the host name"


class NoRouteError(ConnectError):
    """The host has an address that no route of this one leads to; ``detail`` is the system's word."""

    def __str__(self) -> str:
        return f"no route leads to {self.address} ({self.detail}); check the address and the network of this host"


class NoAnswerError(ConnectError):
    """Nothing came back within ``timeout`` seconds."""

    def __init__(self, address: str, timeout: float) -> None:
        super().__init__(address, f"no answer within {timeout:g} s")
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"no answer from {self.address} within {self.timeout:g} s; "
            "check the address and that UDP passes the firewalls between"
        )


class PortClosedError(ConnectError):
    """The host answered that nobody listens on that UDP port."""

    def __str__(self) -> str:
        return f"nobody listens on {self.address} (UDP port closed); check the port and that the node runs"


class AlpnMismatchError(ConnectError):
    """Somebody answered, but speaks another application protocol than ``tndrl``."""

    def __str__(self) -> str:
        return f"{self.address} does not speak tndrl (no common ALPN protocol); check that it is a Tndrl node's port"


class RefusedError(ConnectError):
    """The peer has as many connections as it takes; ``detail`` says which limit it has reached."""

    def __str__(self) -> str:
        said = f": {self.detail}" if self.detail else ""
        return f"{self.address} refused the connection{said}; try again later, or raise the limit there"


class IdentityError(TndrlError):
    """A certificate or an identity was refused, by this side or the other.

    ``alert`` is the TLS alert description (RFC 8446 section 6), ``reason`` what was wrong.
    """

    def __init__(self, address: str, alert: int, alert_name: str, reason: str) -> None:
        super().__init__(address, alert, alert_name, reason)
        self.address = address
        self.alert = alert
        self.alert_name = alert_name
        self.reason = reason


class PeerCertificateError(IdentityError):
    """This side refused the peer's certificate."""

    def __str__(self) -> str:
        return f"refused the certificate of {self.address}: {self.reason} ({self.alert_name})"


class WrongIdentityError(PeerCertificateError):
    """The peer's certificate is valid, but is not that of whom we called."""

    def __init__(self, address: str, alert: int, alert_name: str, expected: str, actual: str) -> None:
        super().__init__(address, alert, alert_name, f"expected {expected}, the certificate says {actual}")
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return (
            f"{self.address} is not {self.expected}: its certificate says {self.actual} ({self.alert_name}); "
            "check the address, or the identity expected of it"
        )


class CertificateRefusedError(IdentityError):
    """The peer refused our certificate."""

    def __str__(self) -> str:
        said = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.address} refused our certificate: {self.alert_name}{said}; "
            "check it with 'tndrl-pki verify' against the CA the peer trusts"
        )


class AgentError(TndrlError):
    """An agent could not do what it was asked."""


class ProviderError(AgentError):
    """The model provider, or a tool server that it needs, failed.

    ``reason`` is safe to hand to a peer: it is written here, never taken from the failure, because the text of
    that may carry keys, addresses and prompts. For the same reason no other exception is chained to this one.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class AgentCallError(AgentError):
    """The agent at ``address`` refused a call or failed it: ``status`` is the gRPC status in words."""

    _CURES: ClassVar = {
        "DEADLINE_EXCEEDED": "try again, or give it longer with --transport-connect-timeout",
        "NOT_FOUND": "only who began a task sees it; 'tndrl task list' shows yours",
        "RESOURCE_EXHAUSTED": "try again later, or with less",
        "UNAVAILABLE": "try again when the node is ready",
    }

    def __init__(self, address: str, status: str, details: str) -> None:
        super().__init__(address, status, details)
        self.address = address
        self.status = status
        self.details = details

    def __str__(self) -> str:
        said = f": {peer_text(self.details)}" if self.details else ""
        cure = f"; {self._CURES[self.status]}" if self.status in self._CURES else ""
        return f"the agent at {self.address} answered {self.status}{said}{cure}"


class NoAgentError(AgentError):
    """The node at ``address`` serves no agent."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return f"{self.address} serves no agent; start its node with --llm-provider, or ask another"


class CardIdentityError(AgentError):
    """The card of the agent at ``address`` claims another identity than the certificate of its node proves."""

    def __init__(self, address: str, identity: str, claimed: str) -> None:
        super().__init__(address, identity, claimed)
        self.address = address
        self.identity = identity
        self.claimed = claimed

    def __str__(self) -> str:
        return (
            f"refused the card of {self.address}: it names {peer_text(self.claimed)}, but the certificate says "
            f"{self.identity}; ask who runs that node before you trust it"
        )


class ConnectionClosedError(TndrlError):
    """A connection that lived is gone.

    ``code`` is the QUIC error code, ``application`` whether it is one of ours (RFC 9000 section 20.2), ``remote``
    whether the peer closed it, ``reason`` the reason phrase, ``code_name`` the code in words.
    """

    def __init__(
        self, address: str, *, code: int, code_name: str, application: bool, remote: bool, reason: str
    ) -> None:
        super().__init__(address, code, reason)
        self.address = address
        self.code = code
        self.code_name = code_name
        self.application = application
        self.remote = remote
        self.reason = reason

    def __str__(self) -> str:
        who = "the peer" if self.remote else "this side"
        said = f": {self.reason}" if self.reason else ""
        return f"connection to {self.address} closed by {who} ({self.code_name}){said}"


class StatelessResetError(ConnectionClosedError):
    """The peer knows the connection no more (RFC 9000 section 10.3): it was restarted, and a new one may be made."""

    def __init__(self, address: str) -> None:
        super().__init__(
            address,
            code=0,
            code_name="stateless reset",
            application=False,
            remote=True,
            reason="it knows this connection no more, as after a restart",
        )


class StreamClosedError(TndrlError):
    """One stream is gone; its connection lives."""


class StreamResetError(StreamClosedError):
    """A stream was reset. ``code`` is the application error code, ``remote`` whether the peer reset it."""

    def __init__(self, code: int, code_name: str, *, remote: bool) -> None:
        super().__init__(code)
        self.code = code
        self.code_name = code_name
        self.remote = remote

    def __str__(self) -> str:
        return f"stream reset by {'the peer' if self.remote else 'this side'}: {self.code_name}"


class StreamRefusedError(StreamClosedError):
    """A stream could not be opened: ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"stream refused: {self.reason}"
