"""Every setting: its key, meaning, bounds and default.

What files, variables, flags and the reference page may say derives from this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from tndrl.config.kinds import (
    Address,
    AnyMap,
    Boolean,
    Choice,
    FilePath,
    ListOf,
    Number,
    SpiffeId,
    Text,
    TextMap,
    Url,
)
from tndrl.config.section import Field, Items, Named, Section
from tndrl.config.transport import LimitsConfig, TransportConfig, seconds
from tndrl.errors import ConfigError

_GLOBS = ListOf(SpiffeId(glob=True), "SPIFFE ID globs")
_TEXTS = ListOf(Text(), "text")


class ServerConfig(Section, frozen=True, kw_only=True):
    """What a node listens on, whom it lets in and how it stops."""

    addr: Annotated[
        str,
        Field(
            "Where the node listens for QUIC, as `host:port`. Port 0 takes a free one, no host means every "
            "address.",
            Address(listen=True),
            env="TNDRL_ADDR",
        ),
    ] = "[::]:4433"
    allow: Annotated[
        tuple[str, ...] | None,
        Field(
            "The SPIFFE IDs that may connect.",
            ListOf(
                SpiffeId(glob=True),
                "SPIFFE ID globs",
                if_empty="an empty list lets nobody in; remove the key or name somebody",
            ),
            default="every ID of the own trust domain",
            blank=True,
        ),
    ] = None
    drain_timeout: Annotated[
        float, seconds("How long a node that is told to stop lets running calls finish.", 0, 86400)
    ] = 30.0


class ControlConfig(Section, frozen=True, kw_only=True):
    """Who may command a node."""

    admins: Annotated[
        tuple[str, ...] | None,
        Field(
            "The SPIFFE IDs that may shut the node down; an empty list means nobody.",
            _GLOBS,
            default="the own identity",
            blank=True,
        ),
    ] = None


class SkillConfig(Section, frozen=True, kw_only=True):
    """One thing that the agent can do, for its card."""

    id: Annotated[str, Field("Names the skill in this agent.", Text())]
    name: Annotated[str, Field("Its name for people.", Text())]
    description: Annotated[str | None, Field("What it does.", Text())] = None
    tags: Annotated[tuple[str, ...], Field("Words to find it by.", _TEXTS)] = ()
    examples: Annotated[tuple[str, ...], Field("Prompts that show it.", _TEXTS)] = ()


class AgentConfig(Section, frozen=True, kw_only=True):
    """The agent's card."""

    name: Annotated[
        str | None,
        Field("The agent's name for people. A node's identity is its certificate's, never this.", Text()),
    ] = None
    description: Annotated[str | None, Field("What the agent is for.", Text())] = None
    input_modes: Annotated[tuple[str, ...], Field("What it takes.", _TEXTS)] = ("text",)
    output_modes: Annotated[tuple[str, ...], Field("What it gives.", _TEXTS)] = ("text",)
    streaming: Annotated[bool, Field("Whether it can answer piece by piece.", Boolean())] = True
    skills: Annotated[tuple[SkillConfig, ...], Items("What it can do.", SkillConfig)] = ()
    store: Annotated[
        str | None,
        Field(
            "Where tasks are kept: `memory`, or the SQLAlchemy URL of a database that is this node's alone.",
            Text(),
            default="SQLite in `agent.db` in `stateDir`",
        ),
    ] = None
    retention: Annotated[
        float,
        seconds("How long a task that rests, and the IDs of messages, are kept.", 60, 1_000_000_000),
    ] = 2_592_000.0


class LocalMcpServer(Section, frozen=True, kw_only=True):
    """An MCP server that is a program of this host."""

    command: Annotated[
        tuple[str, ...],
        Field(
            "The program and its arguments.",
            ListOf(Text(), "text", if_empty="an empty command; name the program to start"),
        ),
    ]
    environment: Annotated[dict[str, str], Field("Variables for it.", TextMap())] = msgspec.field(
        default_factory=dict
    )


class RemoteMcpServer(Section, frozen=True, kw_only=True):
    """An MCP server that is reached over HTTP."""

    url: Annotated[str, Field("Where it is.", Url())]
    headers: Annotated[tuple[str, ...], Field("Headers to send, each as `Name: value`.", _TEXTS)] = ()


class BuiltinMcpServer(Section, frozen=True, kw_only=True):
    """An MCP server inside a Go node; it loads here, and `serve` names what to use instead."""

    name: Annotated[str, Field("Which one.", Text())]
    options: Annotated[dict[str, object], Field("Settings for it.", AnyMap())] = msgspec.field(
        default_factory=dict
    )


McpServer = LocalMcpServer | RemoteMcpServer | BuiltinMcpServer


class LlmConfig(Section, frozen=True, kw_only=True):
    """The model behind the agent, and its tools."""

    provider: Annotated[
        str | None,
        Field(
            "What answers prompts. Without one the node serves no agent.", Choice("echo", "ollama", "mcphost")
        ),
    ] = None
    model: Annotated[str | None, Field("The model's name; for `mcphost` it is `provider:model`.", Text())] = (
        None
    )
    url: Annotated[
        str | None,
        Field("Where the provider's API is.", Url(), default="for `ollama` `http://localhost:11434/v1`"),
    ] = None
    system_prompt: Annotated[str | None, Field("What the model is told before every prompt.", Text())] = None
    max_steps: Annotated[
        int, Field("Rounds of tool calls that one prompt may take; 0 means any number.", Number(0, 1_000_000))
    ] = 0
    mcp_config_file: Annotated[
        str | None,
        Field(
            "A file of mcphost with MCP servers; it replaces `llm.mcpServers`.",
            FilePath(),
            env="TNDRL_MCP_CONFIG",
        ),
    ] = None
    mcp_servers: Annotated[
        dict[str, McpServer],
        Named(
            "The MCP servers that the model may use, by name.",
            {"local": LocalMcpServer, "remote": RemoteMcpServer, "builtin": BuiltinMcpServer},
        ),
    ] = msgspec.field(default_factory=dict)


class PkiPaths(msgspec.Struct, frozen=True):
    """Where a node's certificates and keys lie."""

    ca_cert: Path
    ca_key: Path
    cert: Path
    key: Path


class PkiConfig(Section, frozen=True, kw_only=True):
    """Where the node's certificate, its key and the CA's certificate lie."""

    dir: Annotated[str, Field("The directory of the four files below.", FilePath())] = "~/.tndrl/pki"
    ca_cert: Annotated[
        str | None,
        Field(
            "The certificates of the CAs to trust.",
            FilePath(),
            env="TNDRL_CA_CERT",
            default="`ca.crt` in `pki.dir`",
        ),
    ] = None
    ca_key: Annotated[
        str | None,
        Field(
            "The CA's key; only `pki.init` needs it.",
            FilePath(),
            env="TNDRL_CA_KEY",
            default="`ca.key` in `pki.dir`",
        ),
    ] = None
    cert: Annotated[
        str | None,
        Field("The node's certificate.", FilePath(), env="TNDRL_CERT", default="`tndrl.crt` in `pki.dir`"),
    ] = None
    key: Annotated[
        str | None, Field("The node's key.", FilePath(), env="TNDRL_KEY", default="`tndrl.key` in `pki.dir`")
    ] = None
    init: Annotated[
        bool,
        Field("Create whatever of the four files is missing, at start.", Boolean(), env="TNDRL_INIT_PKI"),
    ] = False

    def paths(self) -> PkiPaths:
        """Return the four paths, `~` expanded. Raises ``ConfigError`` where there is no home directory."""
        base = expand(self.dir, "pki.dir")
        return PkiPaths(
            ca_cert=expand(self.ca_cert, "pki.caCert") if self.ca_cert else base / "ca.crt",
            ca_key=expand(self.ca_key, "pki.caKey") if self.ca_key else base / "ca.key",
            cert=expand(self.cert, "pki.cert") if self.cert else base / "tndrl.crt",
            key=expand(self.key, "pki.key") if self.key else base / "tndrl.key",
        )


class PeerConfig(Section, frozen=True, kw_only=True):
    """A node that commands may call by name."""

    name: Annotated[str, Field("The name to call it by.", Text())]
    addr: Annotated[str, Field("Where it listens, as `host:port`.", Address())]
    identity: Annotated[
        str | None,
        Field(
            "The SPIFFE ID that its certificate must have. Without it the host name must match the "
            "certificate.",
            SpiffeId(),
        ),
    ] = None


class Config(Section, frozen=True, kw_only=True):
    """The whole configuration of a node or a command."""

    version: Annotated[str, Field("The version of this format.", Choice("v1"), env=None, flag=None)] = "v1"
    log_level: Annotated[
        str,
        Field(
            "The least severe messages that are logged.",
            Choice("debug", "info", "warn", "error", aliases={"warning": "warn"}),
        ),
    ] = "info"
    state_dir: Annotated[
        str | None,
        Field(
            "The directory that is this node's alone; two nodes never share one.",
            FilePath(),
            default="`~/.tndrl/state/<node name>`",
        ),
    ] = None
    server: ServerConfig = msgspec.field(default_factory=ServerConfig)
    control: ControlConfig = msgspec.field(default_factory=ControlConfig)
    transport: TransportConfig = msgspec.field(default_factory=TransportConfig)
    limits: LimitsConfig = msgspec.field(default_factory=LimitsConfig)
    agent: AgentConfig = msgspec.field(default_factory=AgentConfig)
    llm: LlmConfig = msgspec.field(default_factory=LlmConfig)
    pki: PkiConfig = msgspec.field(default_factory=PkiConfig)
    peers: Annotated[tuple[PeerConfig, ...], Items("Nodes that commands may call by name.", PeerConfig)] = ()

    def __post_init__(self) -> None:
        """Check the own values, and that no two peers have one name."""
        super().__post_init__()
        names = [peer.name for peer in self.peers]
        if len(names) != len(set(names)):
            raise ConfigError("two peers have the same name; rename one", key="peers")

    def peer(self, name: str) -> PeerConfig | None:
        """Return the peer called ``name``, or None."""
        return next((peer for peer in self.peers if peer.name == name), None)

    def state_path(self, node_name: str) -> Path:
        """Return the directory for the state of the node whose SPIFFE ID ends in ``node_name``.

        Raises ``ConfigError`` where there is no home directory.
        """
        return expand(self.state_dir or f"~/.tndrl/state/{node_name}", "stateDir")

    def tickets_path(self) -> Path:
        """Return the directory in which commands keep session tickets for the next.

        Raises ``ConfigError`` where there is no home directory.
        """
        return expand(self.state_dir or "~/.tndrl", "stateDir") / "tickets"


def expand(path: str, key: str) -> Path:
    """Return ``path`` with ``~`` expanded.

    Raises ``ConfigError`` for ``key`` where there is no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:
        raise ConfigError("there is no home directory for '~'; write the whole path", key=key) from exc
