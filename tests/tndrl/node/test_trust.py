"""From configuration to credentials, patterns and numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pki.spiffe import SpiffeId
from support import certs, nodes
from tndrl.errors import ConfigError
from tndrl.node.trust import (
    host_as_node_name,
    load_credentials,
    node_credentials,
    patterns,
    quic_settings,
)


def test_good_files_are_loaded(tmp_path: Path) -> None:
    """The three files of the PKI directory make credentials."""
    loaded = load_credentials(nodes.config(tmp_path, certs.node_leaf("b")))
    assert str(loaded.spiffe_id) == "spiffe://tndrl/node/b"


@pytest.mark.parametrize(
    ("name", "key"), [("tndrl.crt", "pki.cert"), ("tndrl.key", "pki.key"), ("ca.crt", "pki.caCert")]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str, key: str) -> None:
    """What cannot be read is a mistake of the configuration, with file, setting and cure (TLS-56)."""
    config = nodes.config(tmp_path)
    (tmp_path / "pki" / name).unlink()
    with pytest.raises(ConfigError, match="; ") as raised:
        load_credentials(config)
    assert (raised.value.key, raised.value.source) == (key, str(tmp_path / "pki" / name))


def test_a_certificate_that_is_not_valid(tmp_path: Path) -> None:
    """A node does not start with a certificate that no peer would accept."""
    with pytest.raises(ConfigError, match="not valid under") as raised:
        load_credentials(nodes.config(tmp_path, certs.leaf(start=-7200, end=-3600)))
    assert raised.value.key == "pki.cert"


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    """A private key must be closed to group and others."""
    config = nodes.config(tmp_path)
    (tmp_path / "pki" / "tndrl.key").chmod(0o644)
    with pytest.raises(ConfigError) as raised:
        load_credentials(config)
    assert raised.value.key == "pki.key"


def test_without_init_nothing_is_made(tmp_path: Path) -> None:
    """An empty PKI directory stays empty unless ``pki.init`` says otherwise."""
    (tmp_path / "pki").mkdir()
    with pytest.raises(ConfigError):
        node_credentials(nodes.config(tmp_path))
    assert not list((tmp_path / "pki").iterdir())


def test_with_init_what_is_missing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``pki.init`` a CA and this host's certificate are made once, and then loaded."""
    monkeypatch.setattr("socket.gethostname", lambda: "build 7.example.org")
    (tmp_path / "pki").mkdir()
    config = nodes.config(tmp_path, pki__init=True)
    first = node_credentials(config)
    assert str(first.spiffe_id) == "spiffe://tndrl/node/build-7"
    assert node_credentials(config).chain == first.chain
    assert (tmp_path / "pki" / "ca.key").exists()


def test_init_that_cannot_be_done_is_a_mistake(tmp_path: Path) -> None:
    """What hinders making the files is an error of the configuration."""
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.key").write_text("what")
    with pytest.raises(ConfigError):
        node_credentials(nodes.config(tmp_path, pki__init=True))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web1", "web1"),
        ("web1.example.org", "web1"),
        ("Web_1-a", "Web_1-a"),
        ("b\u00fcro 3", "b-ro-3"),
        ("", "node"),
        (".local", "node"),
    ],
)
def test_hosts_as_names(host: str, name: str) -> None:
    """A host name becomes a segment that a SPIFFE ID can have."""
    assert host_as_node_name(host) == name
    assert SpiffeId.parse(f"spiffe://tndrl/node/{name}")


def test_patterns_match_identities() -> None:
    """Globs of the configuration become patterns, in order."""
    one, two = patterns(["spiffe://tndrl/node/a", "spiffe://tndrl/*/b"])
    b = SpiffeId.parse("spiffe://tndrl/node/b")
    assert (one.matches(b), two.matches(b)) == (False, True)
    assert patterns([]) == ()


def test_numbers_of_connections(tmp_path: Path) -> None:
    """The times, places and limits of the configuration are those of the connections."""
    flags = {
        "transport__idleTimeout": "7",
        "transport__keepalive": "3",
        "transport__handshakeTimeout": "2",
        "transport__qlogDir": "/qlog",
    }
    config = nodes.config(tmp_path, **flags)
    settings = quic_settings(config)
    assert (settings.idle_timeout, settings.keepalive, settings.handshake_timeout) == (7, 3, 2)
    assert settings.limits == config.limits
    assert settings.trace.qlog_dir == Path("/qlog")
    assert settings.trace.key_log_file is None
