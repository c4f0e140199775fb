"""Bringing flags, variables, the file and the defaults together."""

import logging
import re
import time

import pytest

from tndrl.config import BuiltinMcpServer, Config, LocalMcpServer, RemoteMcpServer, load_config
from tndrl.errors import ConfigError

GO_FILE = """\
version: v1
server:
  addr: ":4433"
agent:
  name: 7
  description: ""
  inputModes: []
  streaming: true
  skills:
    - id: filesystem
      name: Filesystem Operations
      tags: [filesystem, yes]
      examples: ["List files in /tmp"]
llm:
  provider: mcphost
  model: ollama:llama3.2
  maxSteps: 10
  mcpServers:
    filesystem:
      type: builtin
      name: fs
      options:
        allowed_directories: [/tmp, "${HOME}"]
    sqlite:
      type: local
      command: ["uvx", "mcp-server-sqlite"]
      environment:
        DEBUG: "true"
    websearch:
      type: remote
      url: "https://api.example.com/mcp"
      headers: ["Authorization: Bearer ${TOKEN}"]
pki:
  init: true
peers:
  - name: local
    addr: localhost:4433
"""


@pytest.fixture
def load(tmp_path):
    """Loads text as a file, with no environment unless given."""

    def load(text="", *, flags=None, env=None):
        path = tmp_path / "node.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, flags=flags, env=env or {})

    return load


@pytest.fixture
def refused(load):
    """Loads what is refused in under a second; returns the messages, the file named by its name alone."""

    def refused(text="", **more):
        began = time.perf_counter()
        with pytest.raises(ConfigError) as caught:
            load(text, **more)
        assert time.perf_counter() - began < 1
        messages = [str(caught.value), *getattr(caught.value, "__notes__", [])]
        return [re.sub(r"^/.*/", "", message) for message in messages]

    return refused


def test_defaults():
    """Without file, variables and flags there are the defaults."""
    assert load_config(env={}) == Config()


def test_empty_file(load):
    """An empty file changes nothing."""
    assert load("") == Config()


def test_precedence(load):
    """A flag is before a variable, a variable before the file, the file before the default."""
    text = "logLevel: debug\nserver: {addr: 'a:1'}\nstateDir: /file\n"
    config = load(text, env={"TNDRL_ADDR": "b:2", "TNDRL_STATE_DIR": "/env"}, flags={"stateDir": "/flag"})
    assert (config.log_level, config.server.addr, config.state_dir) == ("debug", "b:2", "/flag")


@pytest.mark.parametrize(
    ("text", "env", "flags"),
    [
        ("pki: {init: true}", {"TNDRL_INIT_PKI": "false"}, {}),
        ("pki: {init: true}", {}, {"pki.init": False}),
        ("", {"TNDRL_INIT_PKI": "true"}, {"pki.init": False}),
    ],
)
def test_false_overrides_true(load, text, env, flags):
    """A false in a higher place overrides a true in a lower one."""
    assert load(text, env=env, flags=flags).pki.init is False


def test_flags_of_python_types(load, tmp_path):
    """Flags may be text, numbers, truths, paths and lists; None is not given."""
    flags = {
        "server.allow": ["spiffe://tndrl/*"],
        "server.drainTimeout": 5,
        "transport.keepalive": 2.5,
        "pki.dir": tmp_path,
        "agent.inputModes": "text,json",
        "logLevel": None,
    }
    config = load("logLevel: error", flags=flags)
    assert (config.server.allow, config.server.drain_timeout) == (("spiffe://tndrl/*",), 5.0)
    assert (config.transport.keepalive, config.pki.dir, config.log_level) == (2.5, str(tmp_path), "error")
    assert config.agent.input_modes == ("text", "json")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"server.adr": "x"}, "server.adr: there is no such setting; did you mean 'server.addr'?"),
        ({"server.addr": {}}, "--server-addr: server.addr: a dict cannot be a setting"),
        ({"server.addr": ""}, "--server-addr: server.addr: is empty; write a value or remove the key"),
        ({"version": "v2"}, "flags: version: 'v2' is not one of v1"),
    ],
)
def test_bad_flags(refused, flags, message):
    """A flag that nobody knows or that has no usable value is refused by its name."""
    assert refused(flags=flags) == [message]


def test_bad_variable(refused):
    """A variable is named when its value is wrong."""
    message = "TNDRL_TRANSPORT_KEEPALIVE: transport.keepalive: expected a number of seconds, found 'x'"
    assert refused(env={"TNDRL_TRANSPORT_KEEPALIVE": "x"}) == [message]


def test_empty_variable(load):
    """An empty variable is not set."""
    assert load("logLevel: warn", env={"TNDRL_LOG_LEVEL": ""}).log_level == "warn"


def test_file_named_by_variable(tmp_path):
    """Without a path the variable TNDRL_CONFIG names the file."""
    path = tmp_path / "node.yaml"
    path.write_text("logLevel: warn")
    assert load_config(env={"TNDRL_CONFIG": str(path)}).log_level == "warn"


def test_process_environment(monkeypatch):
    """Without ``env`` the process's own environment counts."""
    monkeypatch.setenv("TNDRL_LOG_LEVEL", "error")
    assert load_config().log_level == "error"


def test_go_file(load):
    """A file of the Go node loads unchanged."""
    config = load(GO_FILE)
    servers = config.llm.mcp_servers
    assert config.agent.name == "7"
    assert config.agent.input_modes == ("text",)
    assert config.agent.skills[0].tags == ("filesystem", "yes")
    assert servers["filesystem"] == BuiltinMcpServer(
        name="fs", options={"allowed_directories": ["/tmp", "${HOME}"]}
    )
    assert servers["sqlite"] == LocalMcpServer(
        command=("uvx", "mcp-server-sqlite"), environment={"DEBUG": "true"}
    )
    assert servers["websearch"] == RemoteMcpServer(
        url="https://api.example.com/mcp", headers=("Authorization: Bearer ${TOKEN}",)
    )


@pytest.mark.parametrize(
    "text", ["server:", "server: {addr: }", "server: {addr: ''}", "llm: {mcpServers: }", "peers:"]
)
def test_blank_is_not_set(load, text):
    """Null and empty text in the file are not set."""
    assert load(text) == Config()


def test_empty_lists_of_identities(load, refused):
    """No admins means nobody; letting nobody in is refused."""
    assert load("control: {admins: []}").control.admins == ()
    assert load("control: {admins: }").control.admins is None
    (message,) = refused("server: {allow: []}")
    assert message.startswith("node.yaml:1: server.allow: an empty list lets nobody in;")


def test_first_peer_of_a_name_wins(load, caplog):
    """A second peer of one name is ignored with a warning that says where it stands."""
    with caplog.at_level(logging.WARNING, "tndrl.config"):
        config = load("peers:\n  - {name: a, addr: 'x:1'}\n  - {name: a, addr: 'y:2'}\n")
    assert [peer.addr for peer in config.peers] == ["x:1"]
    (record,) = caplog.records
    assert record.getMessage().endswith("node.yaml:3: peers: a second peer called 'a' is ignored; rename it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("servr: {}", "servr: there is no such key; did you mean 'server'?"),
        ("server: {Addr: x}", "server.Addr: there is no such key; did you mean 'addr'?"),
        ("control: {zzz: x}", "control.zzz: there is no such key; there are admins"),
        ("[a]", "expected a mapping of keys, found a list"),
        ("hello", "expected a mapping of keys, found 'hello'"),
        ("server: 5", "server: expected a mapping of keys, found '5'"),
        ("server: {addr: [a]}", "server.addr: expected text, found a list"),
        ("peers: {a: b}", "peers: expected a list, found a mapping; write each item after '- '"),
        ("peers: [a]", "peers[0]: expected a mapping of keys, found 'a'"),
        ("peers: [{name: a}]", "peers[0].addr: is missing; add it"),
        ("llm: {mcpServers: [a]}", "llm.mcpServers: expected a mapping of names, found a list"),
        ("llm: {mcpServers: {a: 1}}", "llm.mcpServers.a.type: is missing; write local, remote, builtin"),
        (
            "llm: {mcpServers: {a: {type: x}}}",
            "llm.mcpServers.a.type: 'x' is not known; write local, remote, builtin",
        ),
        (
            "llm: {mcpServers: {a: {type: [x]}}}",
            "llm.mcpServers.a.type: a list is not known; write local, remote, builtin",
        ),
        ("llm: {mcpServers: {a: {type: local}}}", "llm.mcpServers.a.command: is missing; add it"),
        ("version: v2", "version: 'v2' is not one of v1"),
    ],
)
def test_one_mistake(refused, text, message):
    """A mistake in the file is one message with file, line, key, cause and cure."""
    assert refused("# a comment\n" + text) == [f"node.yaml:2: {message}"]


def test_all_mistakes_by_line(refused):
    """All mistakes of a file are listed, by line."""
    messages = refused("peers: [{}]\nlogLevel: loud\nagent: {streaming: 5}\nx: 1\n")
    assert [message.split(": ")[:2] for message in messages] == [
        ["node.yaml:1", "peers[0].name"],
        ["node.yaml:1", "peers[0].addr"],
        ["node.yaml:2", "logLevel"],
        ["node.yaml:3", "agent.streaming"],
        ["node.yaml:4", "x"],
    ]


def test_keys_are_escaped(refused):
    """A key from the file is escaped and shortened in messages."""
    (message,) = refused('"\\e[31m' + "k" * 1000 + '": 1')
    assert message.isascii()
    assert len(message) < 300
