"""Certificates between makes: what each issues the other takes, and what is refused is refused with its alert."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tndrl
from interop.conftest import Both
from pki.alerts import Alert
from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from pki.svid import TrustBundle
from rogue.peer import RogueClient
from rogue.script import Script
from support import certs, nodes, processes
from tndrl.errors import CertificateRefusedError, WrongIdentityError
from tndrl.transport.codes import CRYPTO_ERROR
from tndrl.transport.dialer import MuxDialer, Target

GO_CALLS = pytest.mark.interop("Go", "Go calls Python")
PYTHON_CALLS = pytest.mark.interop("Go", "Python calls Go")
NODE_B = "spiffe://tndrl/node/b"
PKI = str(Path(sys.executable).with_name("tndrl-pki"))

STRANGERS = {
    "other CA": (lambda: certs.leaf(certs.world().stranger), Alert.unknown_ca),
    "expired": (lambda: certs.node_leaf("b", end=-60), Alert.certificate_expired),
}
"""A client's certificate -> the alert it is refused with."""
BAD = pytest.mark.parametrize("bad", STRANGERS)


def trusting(both: Both, bad: str) -> None:
    """Write the files of a client whose own certificate is bad, but who trusts the server."""
    both.pki("b", STRANGERS[bad][0]())
    (both.folder / "b" / "pki" / "ca.crt").write_bytes(certs.world().ca_pem)


@BAD
@GO_CALLS
async def test_go_is_refused(both: Both, bad: str) -> None:
    """A client's bad certificate, and the alert that it sees."""
    trusting(both, bad)
    async with both.serving() as node:
        conn = (await both.go_dials(node))["conn"]
        close = (await both.go.try_to("wait", conn=conn, timeout=5))["close"]
        assert (close["code"], close["remote"]) == (CRYPTO_ERROR + STRANGERS[bad][1], True)
        assert node.stats()[f"handshakes_refused.{STRANGERS[bad][1].name}"] == 1


@GO_CALLS
async def test_go_has_no_certificate(both: Both) -> None:
    """A client without a certificate, and the alert that it sees."""
    async with both.serving() as node:
        conn = (await both.go_dials(node, no_cert=True))["conn"]
        close = (await both.go.try_to("wait", conn=conn, timeout=5))["close"]
        assert (close["code"], close["remote"]) == (CRYPTO_ERROR + Alert.certificate_required, True)


@GO_CALLS
async def test_go_meets_somebody_else(both: Both) -> None:
    """A server that is not who the client expects, and the alert that the server sees."""
    async with both.serving() as node:
        refused = await both.go.try_to(
            "dial", addr=node.address, pki=both.pki("b"), expect="spiffe://tndrl/node/c"
        )
        assert not refused["close"]["remote"]
        assert node.stats().get("handshakes_completed", 0) == 0


@BAD
@PYTHON_CALLS
async def test_python_is_refused(both: Both, bad: str) -> None:
    """A client's bad certificate, and the alert that each side reports."""
    served = await both.go_serves()
    host, _, port = served["addr"].rpartition(":")
    made, alert = STRANGERS[bad][0](), STRANGERS[bad][1]
    bundle = TrustBundle.from_pem(certs.world().ca_pem)
    own = Credentials(SpiffeId.parse(NODE_B), (made.certificate,), made.key, bundle, certs.moment(60))
    async with MuxDialer(own) as dialer:
        session = await dialer.dial(Target(host, int(port)))
        with pytest.raises(CertificateRefusedError) as refused:
            await session.wait_confirmed()
    assert refused.value.alert == alert
    end = (await both.go.do("ended", name=served["server"], timeout=5))["close"]
    assert (end["code"], end["remote"]) == (CRYPTO_ERROR + alert, False)


@PYTHON_CALLS
async def test_python_has_no_certificate(both: Both) -> None:
    """A client without a certificate, and the alert that each side reports."""
    served = await both.go_serves()
    async with RogueClient(served["addr"], Script()) as peer:
        closed = await peer.closed()
    assert closed.code == CRYPTO_ERROR + Alert.certificate_required
    end = (await both.go.do("ended", name=served["server"], timeout=5))["close"]
    assert (end["code"], end["remote"]) == (CRYPTO_ERROR + Alert.certificate_required, False)


@PYTHON_CALLS
async def test_python_meets_somebody_else(both: Both) -> None:
    """A server that is not who the client expects is refused before any call, with the alert that it sees."""
    served = await both.go_serves()
    peers = [{"name": "c", "addr": served["addr"], "identity": "spiffe://tndrl/node/c"}]
    with pytest.raises(WrongIdentityError) as refused:
        async with nodes.calling(both.folder / "b", "b", "c", peers=peers):
            pass
    assert refused.value.actual == served["identity"]
    end = (await both.go.do("ended", name=served["server"], timeout=5))["close"]
    assert (end["code"], end["remote"]) == (CRYPTO_ERROR + Alert.access_denied, True)


@GO_CALLS
async def test_go_reads_what_we_issue(both: Both) -> None:
    """Files of tndrl-pki: keys, chain and names, on either side, from one directory."""
    ca, own = both.folder / "ca", both.folder / "own"
    for command in (["init", "--dir", str(ca)], ["issue", "a", "--dir", str(ca), "--out", str(own)]):
        assert (await processes.run(PKI, *command)).code == 0
    (own / "ca.crt").write_bytes((ca / "ca.crt").read_bytes())
    config = tndrl.load_config(
        flags={"server.addr": "127.0.0.1:0", "pki.dir": str(own), "stateDir": str(both.folder / "s")}, env={}
    )
    async with tndrl.Node(config) as node:
        dialled = await both.go.do("dial", addr=node.address, pki=str(own), host="127.0.0.1")
        assert dialled["peer"] == "spiffe://tndrl/node/a"
        await both.go.do("ping", chan=await both.go.channel(dialled["conn"], 0x01))
    served = await both.go.do("serve", pki=str(own))
    async with tndrl.connect(served["addr"], config=config) as peer:
        await nodes.ping(nodes.control(peer))


@PYTHON_CALLS
async def test_python_reads_what_go_issues(both: Both) -> None:
    """Files of a Go node: keys, chain and names, on either side, from one directory."""
    own = both.folder / "own"
    own.mkdir()
    await both.go.do("issue", pki=str(own), name="gopher")
    config = tndrl.load_config(
        flags={"server.addr": "127.0.0.1:0", "pki.dir": str(own), "stateDir": str(both.folder / "s")}, env={}
    )
    served = await both.go.do("serve", pki=str(own))
    async with tndrl.connect(served["addr"], config=config) as peer:
        assert peer.identity == "spiffe://tndrl/node/gopher"
        await nodes.ping(nodes.control(peer))
    async with tndrl.Node(config) as node:
        dialled = await both.go.do("dial", addr=node.address, pki=str(own), host="127.0.0.1")
        await both.go.do("ping", chan=await both.go.channel(dialled["conn"], 0x01))
