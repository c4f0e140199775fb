"""The MCP servers of a configuration: how each is reached, and which of its tools the model may use."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tndrl.config import LlmConfig, LocalMcpServer, McpServer, RemoteMcpServer
from tndrl.errors import ConfigError, peer_text

_VARIABLE = re.compile(r"\$\{(?:env://)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)")
_URL = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)

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
        _tool_server(name, server, f"llm.mcpServers.{peer_text(name, 60)}")
        for name, server in llm.mcp_servers.items()
    )


def _tool_server(name: str, server: McpServer, key: str) -> ToolServer:
    if isinstance(server, LocalMcpServer):
        return program(name, server.command, server.environment, key)
    if isinstance(server, RemoteMcpServer):
        return remote(name, server.url, server.headers, key)
    raise built_in(server.name, key)


def program(name: str, command: Sequence[str], environment: Mapping[str, str], key: str) -> ToolServer:
    """Return the server that is a program. Raises ``ConfigError`` for ``key``."""
    words = tuple(_whole(word, key) for word in command)
    if not words or not words[0]:
        raise ConfigError("names no program; write the program and its arguments", key=f"{key}.command")
    return ToolServer(name, words, {variable: _whole(text, key) for variable, text in environment.items()})


def remote(name: str, url: str, headers: Iterable[str], key: str) -> ToolServer:
    """Return the server that is at ``url``; each header is ``Name: value``. Raises ``ConfigError`` for ``key``."""
    whole = _whole(url, key)
    if not _URL.fullmatch(whole):
        raise ConfigError("is not a URL; write http://host or https://host", key=f"{key}.url")
    return ToolServer(name, url=whole, headers=dict(_header(_whole(header, key), key) for header in headers))


def built_in(name: str, key: str) -> ConfigError:
    """Return the error for a server that only Go nodes have: it says what to write instead."""
    words = ", ".join(_INSTEAD.get(name, "PROGRAM").split())
    return ConfigError(
        f"the server '{peer_text(name, 60)}' is built into Go nodes only; "
        f"write type: local, command: [{words}]",
        key=key,
    )


def _whole(text: str, key: str) -> str:
    return _VARIABLE.sub(_lookup(key), text)


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
