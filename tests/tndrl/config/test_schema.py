"""The schema."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tndrl.config import Config, PeerConfig, PkiConfig, PkiPaths, ServerConfig
from tndrl.errors import ConfigError


def test_invalid_cannot_exist():
    """A configuration made by hand is checked like a file."""
    with pytest.raises(ConfigError, match="addr: 'nowhere' is not an address"):
        ServerConfig(addr="nowhere")


def test_peer():
    """A peer is found by its name, else there is none."""
    peer = PeerConfig(name="lab", addr="lab:1")
    config = Config(peers=(peer,))
    assert config.peer("lab") is peer
    assert config.peer("lap") is None


def test_two_peers_of_a_name():
    """Two peers of one name cannot be told apart."""
    peer = PeerConfig(name="lab", addr="lab:1")
    with pytest.raises(ConfigError, match="peers: two peers have the same name; rename one"):
        Config(peers=(peer, peer))


def test_pki_paths_from_dir():
    """The four files lie in the directory, whose ``~`` is the home directory."""
    base = Path("~/.tndrl/pki").expanduser()
    expected = PkiPaths(
        ca_cert=base / "ca.crt", ca_key=base / "ca.key", cert=base / "tndrl.crt", key=base / "tndrl.key"
    )
    assert PkiConfig().paths() == expected


def test_pki_paths_overridden():
    """Each of the four files can lie elsewhere."""
    pki = PkiConfig(dir="/pki", ca_cert="/a", ca_key="/b", cert="/c", key="d")
    assert pki.paths() == PkiPaths(ca_cert=Path("/a"), ca_key=Path("/b"), cert=Path("/c"), key=Path("d"))


def test_state_path(tmp_path):
    """Each node has its own directory unless one is set."""
    assert Config().state_path("alpha") == Path("~/.tndrl/state/alpha").expanduser()
    assert Config(state_dir=str(tmp_path)).state_path("alpha") == tmp_path


def test_no_home():
    """A ``~`` that means nobody's home is a mistake of its key."""
    with pytest.raises(ConfigError, match=r"pki\.dir: there is no home directory for '~'"):
        PkiConfig(dir="~nobody-of-that-name/pki").paths()


@pytest.mark.serial
def test_import_is_light():
    """Importing takes less than twice the CPU time of the two libraries that it stands on, Python's start apart."""

    def best(code):
        times = []
        for _ in range(7):
            began = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - began)
        return min(times)

    start = best("pass")
    assert best("import tndrl.config") - start < 2 * (best("import msgspec, yaml") - start)


def test_import_leaves_the_heavy_out():
    """Neither YAML nor cryptography is loaded before there is need."""
    code = "import tndrl.config, sys; tndrl.config.load_config(env={}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"yaml", "cryptography", "grpc", "aioquic", "asyncio"} & set(done.stdout.split())
