"""Files of mcphost."""

from __future__ import annotations

import pytest

from tndrl.config import LlmConfig
from tndrl.errors import ConfigError
from tndrl.llm.mcphost_file import read_servers
from tndrl.llm.tool_servers import ToolServer, tool_servers


@pytest.fixture
def read(tmp_path):
    def read(text):
        file = tmp_path / "mcphost.yml"
        file.write_text(text)
        return read_servers(str(file))

    return read


def test_the_form_of_the_configuration(read):
    """Servers with a type."""
    text = """
mcpServers:
  a: {type: local, command: [uvx, server], environment: {K: v}}
  b: {type: remote, url: "http://x/mcp", headers: ["X: y"]}
"""
    assert read(text) == (
        ToolServer("a", ("uvx", "server"), {"K": "v"}),
        ToolServer("b", url="http://x/mcp", headers={"X": "y"}),
    )


def test_the_older_form(read):
    """A command with its arguments apart, in JSON with tabs."""
    text = '{\n\t"mcpServers": {\n\t\t"a": {"command": "npx", "args": ["-y", "s"], "env": {"K": "v"}},\n'
    text += '\t\t"b": {"url": "http://x/mcp"}\n\t}\n}'
    assert read(text) == (
        ToolServer("a", ("npx", "-y", "s"), {"K": "v"}),
        ToolServer("b", url="http://x/mcp"),
    )


def test_tools_can_be_left_out(read):
    """What the file forbids the model, it does not get."""
    text = """
mcpServers:
  a: {command: x, allowedTools: [one]}
  b: {command: x, excludedTools: [two]}
  c: {command: x, allowedTools: []}
"""
    a, b, c = read(text)
    assert (a.allowed, b.excluded, c.allowed) == ({"one"}, {"two"}, None)


def test_what_else_the_file_sets_is_not_ours(read):
    """A model, a key, a prompt: mcphost's own."""
    assert read("model: a:b\nprovider-api-key: k\nmcpServers:\n") == ()


def test_variables_are_filled_in(read, monkeypatch):
    """As mcphost writes them."""
    monkeypatch.setenv("TOKEN", "t0k")
    [server] = read('mcpServers: {a: {url: "http://x", headers: ["X: ${env://TOKEN}"]}}')
    assert server.headers == {"X": "t0k"}


def test_the_file_replaces_the_servers_of_the_configuration(tmp_path, monkeypatch):
    """Its path may begin with the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.yml").write_text("mcpServers: {a: {command: x}}")
    assert tool_servers(LlmConfig(mcp_config_file="~/m.yml")) == (ToolServer("a", ("x",)),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: x", "1: mcpServers: is missing; check that it is a file of mcphost"),
        ("- a", "1: mcpServers: is not a mapping"),
        ("mcpServers: [a]", "1: mcpServers: is not a mapping"),
        ("mcpServers: {a: s3cret}", "1: mcpServers.a: is not a mapping"),
        ("mcpServers: {a: {}}", "1: mcpServers.a: says neither command nor url; add one"),
        ("mcpServers:\n  a: {type: x}", "2: mcpServers.a.type: is not known; write local, remote, builtin"),
        ("mcpServers: {a: {type: [x]}}", "1: mcpServers.a.type: is not text; write text"),
        ("mcpServers: {a: {type: local}}", "1: mcpServers.a.command: is missing; add it"),
        ("mcpServers: {a: {type: remote}}", "1: mcpServers.a.url: is missing; add it"),
        (
            "mcpServers: {a: {type: builtin, name: fs}}",
            "1: mcpServers.a: the server 'fs' is built into Go nodes",
        ),
        ("mcpServers: {a: {command: x, disabled: s3cret}}", "1: mcpServers.a.disabled: there is no such key"),
        (
            "mcpServers: {a: {command: x, url: s3cret}}",
            "1: mcpServers.a.url: there is no such key; there are type",
        ),
        ("mcpServers: {a: {command: x, args: s3cret}}", "1: mcpServers.a.args: is not a list"),
        ("mcpServers: {a: {command: x, env: [s3cret]}}", "1: mcpServers.a.env: is not a mapping"),
        ("mcpServers: {a: {command: x, env: {A: [s3cret]}}}", "1: mcpServers.a.env: is not text"),
        ("mcpServers: {a: {url: '${UNSET_NAME}'}}", "1: mcpServers.a: the variable UNSET_NAME is not set"),
        ("mcpServers: {a: {command: []}}", "1: mcpServers.a.command: names no program"),
        ("mcpServers: {a: {url: s3cret}}", "1: mcpServers.a.url: is not a URL"),
    ],
)
def test_mistakes_are_named(read, text, problem):
    """With the line and the key, and without the value, which may be a secret."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert f"/mcphost.yml:{problem}" in str(caught.value)
    assert "s3cret" not in str(caught.value)
