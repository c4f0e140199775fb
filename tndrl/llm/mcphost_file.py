"""Reads the MCP servers of a configuration file that was written for mcphost.

Whatever else such a file sets is mcphost's own business and is not read here. Its servers come in two forms: that
of ``llm.mcpServers``, and an older one without a type, where a command's arguments stand in ``args``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tndrl.config.document import read_document
from tndrl.config.schema import expand
from tndrl.config.values import Value
from tndrl.errors import ConfigError, peer_text
from tndrl.llm.tool_servers import ToolServer, built_in, program, remote

_COMMON = ("type", "allowedTools", "excludedTools")
_KEYS = {
    "local": ("command", "args", "environment", "env"),
    "remote": ("url", "headers"),
    "builtin": ("name", "options"),
}


def read_servers(path: str) -> tuple[ToolServer, ...]:
    """Return the servers of the YAML or JSON file at ``path``, whose ``~`` is expanded.

    Raises ``ConfigError`` with file and line; it never repeats a value.
    """
    document = read_document(expand(path, "llm.mcpConfigFile"))
    servers = _mapping(document, "mcpServers").get("mcpServers")
    if servers is None:
        raise document.error("is missing; check that it is a file of mcphost", "mcpServers")
    entries = _mapping(servers, "mcpServers")
    return tuple(_server(name, entry, f"mcpServers.{peer_text(name, 60)}") for name, entry in entries.items())


def _server(name: str, entry: Value, key: str) -> ToolServer:
    entries = _mapping(entry, key)
    kind = _kind(entries, entry, key)
    for other, value in entries.items():
        if other not in _COMMON + _KEYS[kind]:
            known = ", ".join(_COMMON + _KEYS[kind])
            raise value.error(f"there is no such key; there are {known}", f"{key}.{peer_text(other, 60)}")
    try:
        server = _made(name, kind, entries, key)
    except ConfigError as exc:
        raise exc if exc.source else entry.error(exc.problem, exc.key) from None
    allowed = _texts(entries, "allowedTools", key)
    return replace(
        server,
        allowed=frozenset(allowed) if allowed else None,
        excluded=frozenset(_texts(entries, "excludedTools", key)),
    )


def _kind(entries: dict[str, Value], entry: Value, key: str) -> str:
    if "type" in entries:
        kind = _text(entries["type"], f"{key}.type")
        if kind in _KEYS:
            return kind
        raise entries["type"].error(f"is not known; write {', '.join(_KEYS)}", f"{key}.type")
    if "command" in entries or "url" in entries:
        return "local" if "command" in entries else "remote"
    raise entry.error("says neither command nor url; add one", key)


def _made(name: str, kind: str, entries: dict[str, Value], key: str) -> ToolServer:
    first = _KEYS[kind][0]
    if first not in entries:
        raise ConfigError("is missing; add it", key=f"{key}.{first}")
    if kind == "remote":
        return remote(name, _text(entries["url"], f"{key}.url"), _texts(entries, "headers", key), key)
    if kind == "builtin":
        raise built_in(_text(entries["name"], f"{key}.name"), key)
    variables: dict[str, str] = {}
    for where in ("env", "environment"):
        given = _mapping(entries[where], f"{key}.{where}") if where in entries else {}
        variables |= {variable: _text(value, f"{key}.{where}") for variable, value in given.items()}
    return program(name, tuple(_command(entries, key)), variables, key)


def _command(entries: dict[str, Value], key: str) -> Iterable[str]:
    command = entries["command"]
    if isinstance(command.content, str):
        yield command.content
    else:
        yield from _texts(entries, "command", key)
    yield from _texts(entries, "args", key)


def _texts(entries: dict[str, Value], name: str, key: str) -> list[str]:
    if name not in entries or entries[name].content is None:
        return []
    if not isinstance(items := entries[name].content, list):
        raise entries[name].error("is not a list; write each item after '- '", f"{key}.{name}")
    return [_text(item, f"{key}.{name}") for item in items]


def _text(value: Value, key: str) -> str:
    if not isinstance(value.content, str):
        raise value.error("is not text; write text", key)
    return value.content


def _mapping(value: Value, key: str) -> dict[str, Value]:
    if value.content is None:
        return {}
    if not isinstance(value.content, dict):
        raise value.error("is not a mapping; write names and what they stand for", key)
    return value.content
