"""The MCP servers of a configuration."""

from __future__ import annotations

import pytest

from tndrl.config import BuiltinMcpServer, LlmConfig, LocalMcpServer, RemoteMcpServer
from tndrl.errors import ConfigError
from tndrl.llm.tool_servers import ToolServer, tool_servers


def servers(**named):
    return tool_servers(LlmConfig(mcp_servers=named))


def problem(server):
    with pytest.raises(ConfigError) as caught:
        servers(one=server)
    return str(caught.value)


def test_without_any_there_are_none():
    """A model may do without tools."""
    assert tool_servers(LlmConfig()) == ()


def test_a_program():
    """Its command and what is added to its environment."""
    local = LocalMcpServer(command=("uvx", "server"), environment={"DEBUG": "1"})
    assert servers(one=local) == (ToolServer("one", ("uvx", "server"), {"DEBUG": "1"}),)


def test_a_url():
    """Headers are taken apart at the first colon."""
    remote = RemoteMcpServer(url="http://x/mcp", headers=("Authorization: Bearer a:b", "X-Empty:"))
    expected = {"Authorization": "Bearer a:b", "X-Empty": ""}
    assert servers(one=remote) == (ToolServer("one", url="http://x/mcp", headers=expected),)


@pytest.mark.parametrize("written", ["${TOKEN}", "${env://TOKEN}", "${TOKEN:-x}", "${UNSET_NAME:-t0k}"])
def test_variables_stand_for_secrets(written, monkeypatch):
    """In commands, environments, URLs and headers alike."""
    monkeypatch.setenv("TOKEN", "t0k")
    local = LocalMcpServer(command=("run", f"--token={written}"), environment={"T": written})
    remote = RemoteMcpServer(url=f"http://x/{written}", headers=(f"X: {written}",))
    one, two = servers(one=local, two=remote)
    assert (one.command[1], one.environment["T"]) == ("--token=t0k", "t0k")
    assert (two.url, two.headers["X"]) == ("http://x/t0k", "t0k")


def test_an_empty_default_counts():
    """It is how a variable is made optional."""
    [one] = servers(one=LocalMcpServer(command=("run", "${UNSET_NAME:-}")))
    assert one.command == ("run", "")


def test_a_variable_must_be_set():
    """The error names it, and the server."""
    assert problem(LocalMcpServer(command=("run", "${UNSET_NAME}"))) == (
        "llm.mcpServers.one: the variable UNSET_NAME is not set; set it, or write ${UNSET_NAME:-default}"
    )


@pytest.mark.parametrize(
    "header", ["Bearer s3cret", "Na me: s3cret", "X: s3cret\r\nY: z", ": s3cret", "X: é s3cret"]
)
def test_a_header_must_be_one(header):
    """The error does not repeat it: it may be a secret with its name forgotten."""
    said = problem(RemoteMcpServer(url="http://x", headers=(header,)))
    assert said.startswith("llm.mcpServers.one.headers: a header is not 'Name: value'")
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("fs", "command: [npx, -y, @modelcontextprotocol/server-filesystem, DIRECTORY]"),
        ("fetch", "command: [uvx, mcp-server-fetch]"),
        ("http", "command: [uvx, mcp-server-fetch]"),
        ("bash", "command: [uvx, mcp-shell-server]"),
        ("todo", "command: [npx, -y, @modelcontextprotocol/server-memory]"),
        ("other", "command: [PROGRAM]"),
    ],
)
def test_a_server_of_go_nodes_has_a_substitute(name, instead):
    """The error says what to write in its place."""
    assert problem(BuiltinMcpServer(name=name)) == (
        f"llm.mcpServers.one: the server '{name}' is built into Go nodes only; write type: local, {instead}"
    )


def test_tools_can_be_left_out():
    """By naming those that are allowed, or those that are not."""
    assert ToolServer("one").offers("a")
    assert not ToolServer("one", excluded=frozenset("a")).offers("a")
    assert not ToolServer("one", allowed=frozenset("b")).offers("a")


@pytest.mark.parametrize("value", ["", "/s3cret", "a s3cret", "?s3cret"])
def test_a_url_must_be_one(value, monkeypatch):
    """After its variables are filled in; the error does not repeat it."""
    monkeypatch.setenv("REST", value)
    said = problem(RemoteMcpServer(url="http://${REST:-}"))
    assert said == "llm.mcpServers.one.url: is not a URL; write http://host or https://host"


def test_its_repr_keeps_secrets():
    """Commands, variables, URLs and headers may all hold one."""
    server = ToolServer("one", ("run", "s3cret"), {"T": "s3cret"}, "http://s3cret", {"X": "s3cret"})
    assert "s3cret" not in repr(server)
