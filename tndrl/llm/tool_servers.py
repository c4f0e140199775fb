"""The MCP servers of a configuration: how each is reached, and which of its tools the model may use."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tndrl.config import BuiltinMcpServer, LlmConfig, LocalMcpServer, McpServer, RemoteMcpServer
from tndrl.errors import ConfigError, peer_text

_VARIABLE = re.compile(r"\$\{(?:env://)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)")

_INSTEAD = {
    "fs": "npx -y @modelcontextprotocol/server-filesystem DIRECTORY",
    "fetch": "uvx mcp-server-fetch",
    "http": "uvx mcp-server-fetch",
    "bash": "uvx mcp-shell-server",
    "todo": "npx -y @modelcontextprotocol/server-memory",
}


@dataclass(frozen=True)
class ToolServer:
    """One MCP server: a program (``command``, with ``environment`` added to a bare one) or a ``url``.

    ``repr`` keeps to the name: commands, variables, URLs and headers all may carry secrets.
    """

    name: str
    command: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    def offers(self, tool: str) -> bool:
        """Return whether the model may use ``tool``."""
        return tool not in self.excluded and (self.allowed is None or tool in self.allowed)


def tool_servers(llm: LlmConfig) -> tuple[ToolServer, ...]:
    """Return the servers of ``llm.mcpConfigFile``, or without one those of ``llm.mcpServers``.

    ``${NAME}`` and ``${NAME:-default}`` in them stand for variables of the environment, so that no secret need
    stand in a file. Raises ``ConfigError``, which never repeats a value.
    """
    if llm.mcp_config_file:
        from tndrl.llm.mcphost_file import read_servers

        return read_servers(llm.mcp_config_file)
    return tuple(
        tool_server(name, server, f"llm.mcpServers.{peer_text(name, 60)}")
        for name, server in llm.mcp_servers.items()
    )


def tool_server(name: str, server: McpServer, key: str) -> ToolServer:
    """Return ``server`` as it is to be reached. Raises ``ConfigError`` for ``key``."""

    def whole(text: str) -> str:
        return _VARIABLE.sub(_lookup(key), text)

    match server:
        case LocalMcpServer():
            environment = {name: whole(value) for name, value in server.environment.items()}
            return ToolServer(name, tuple(map(whole, server.command)), environment)
        case RemoteMcpServer():
            headers = dict(_header(whole(header), key) for header in server.headers)
            return ToolServer(name, url=whole(server.url), headers=headers)
        case BuiltinMcpServer():
            instead = _INSTEAD.get(server.name, "PROGRAM")
            raise ConfigError(
                f"the server '{peer_text(server.name, 60)}' is built into Go nodes only; write "
                f"type: local, command: [{', '.join(instead.split())}]",
                key=key,
            )


def _lookup(key: str) -> Callable[[re.Match[str]], str]:
    def value(found: re.Match[str]) -> str:
        name, default = found.groups()
        text = os.environ.get(name) or default
        if text is None:
            raise ConfigError(
                f"the variable {name} is not set; set it, or write ${{{name}:-default}}", key=key
            )
        return text

    return value


def _header(line: str, key: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(line.strip())
    if found is None:
        raise ConfigError(
            "a header is not 'Name: value' in plain characters; correct it", key=f"{key}.headers"
        )
    return found[1], found[2].strip()
