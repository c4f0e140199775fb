from __future__ import annotations

import socket

import pytest
from cryptography import x509

from pki import hosts
from pki.alerts import Alert
from pki.errors import RefusedError, SvidError
from support import certs


def accepts(host: str, *, dns: tuple[str, ...] = (), ips: tuple[str, ...] = (), name: str = "leaf") -> bool:
    made = certs.leaf(dns=dns, ips=ips, name=name)
    try:
        hosts.verify_host(made.der, host)
    except SvidError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "dns", "expected"),
    [
        ("a.example", ("a.example",), True),
        ("A.Example.", ("a.EXAMPLE",), True),
        ("b.example", ("a.example",), False),
        ("x.a.example", ("a.example",), False),
        ("x.example", ("*.example",), True),
        ("example", ("*.example",), False),
        ("y.x.example", ("*.example",), False),
        (".example", ("*.example",), False),
        ("x1.example", ("x*.example",), False),
        ("localhost", ("*",), False),
        ("", ("",), False),
        ("a.example\0", ("a.example",), False),
    ],
)
def test_names(host: str, dns: tuple[str, ...], expected: bool) -> None:
    """A name matches a DNS name letter by letter but for case; a star is one whole first label (RFC 9525 6.3)."""
    assert accepts(host, dns=dns) is expected


@pytest.mark.parametrize(
    ("host", "ips", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7",), True),
        ("192.0.2.8", ("192.0.2.7",), False),
        ("2001:DB8:0::7", ("2001:db8::7",), True),
        ("fe80::1%eth0", ("fe80::1",), True),
        ("::ffff:192.0.2.7", ("192.0.2.7",), False),
    ],
)
def test_addresses(host: str, ips: tuple[str, ...], expected: bool) -> None:
    """An address matches an address of the certificate, however it is spelled (RFC 9525 section 6.4)."""
    assert accepts(host, ips=ips) is expected


def test_addresses_do_not_match_names() -> None:
    """An address never matches a DNS name, even one that looks like it."""
    assert not accepts("192.0.2.7", dns=("192.0.2.7",))


def test_common_name_counts_for_nothing() -> None:
    """The subject's common name is not a host name (RFC 9525 section 1.4)."""
    assert not accepts("a.example", dns=("b.example",), name="a.example")


def test_certificate_without_names() -> None:
    """A certificate that names no host is for none, and the message says so; one that is loaded will do."""
    with pytest.raises(SvidError, match="it names no host at all"):
        hosts.verify_host(certs.leaf(dns=(), ips=()).certificate, "localhost")


def test_unreadable_certificate() -> None:
    """What is no certificate is refused like one for another host."""
    with pytest.raises(SvidError) as caught:
        hosts.verify_host(b"junk", "localhost")
    assert caught.value.alert is Alert.bad_certificate


@pytest.mark.parametrize(
    "text", ["localhost", "A.example", "xn--bcher-kva.example", "*.example", "a_b", "x."]
)
def test_good_dns_names(text: str) -> None:
    """A DNS name is folded to lower case and loses its last dot."""
    assert hosts.parse_dns_name(text) == text.lower().removesuffix(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "b\u00fccher",
        "a b",
        "a/b",
        "1.2.3.4",
        "::1",
        "x*.a",
        "*",
        "a" * 64,
        "a." * 130,
    ],
)
def test_bad_dns_names(text: str) -> None:
    """What is no DNS name, or an address, is refused."""
    with pytest.raises(RefusedError):
        hosts.parse_dns_name(text)


def test_longest_dns_name() -> None:
    """A DNS name has at most 253 characters."""
    assert hosts.parse_dns_name("a." * 126 + "b")
    with pytest.raises(RefusedError):
        hosts.parse_dns_name("a." * 126 + "bc")


@pytest.mark.parametrize("text", ["", "localhost", "192.0.2.7:4433", "[::1]", "192.0.2", "10.0.0.0/8"])
def test_bad_addresses(text: str) -> None:
    """What is no IP address is refused."""
    with pytest.raises(RefusedError):
        hosts.parse_address(text)


def test_local_names_are_always_there() -> None:
    """Certificates name localhost and the loopback addresses first, and everything once."""
    names = hosts.alternative_names(["a.example", "LOCALHOST"], ["127.0.0.1", "192.0.2.7"])
    assert [str(name.value) for name in names] == ["localhost", "a.example", "127.0.0.1", "::1", "192.0.2.7"]
    assert isinstance(names[0], x509.DNSName)


def test_names_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's names are its own and the full one; a name that cannot stand in a certificate is left out."""
    monkeypatch.setattr(socket, "gethostname", lambda: "bad name")
    monkeypatch.setattr(socket, "getfqdn", lambda: "web.example")
    names, addresses = hosts.names_of_this_host()
    assert names == ["web.example"]
    assert all(hosts.parse_address(address) for address in addresses)


def test_host_without_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that reaches nobody has no addresses to name."""

    def refuse(*_: object) -> socket.socket:
        raise OSError

    monkeypatch.setattr(socket, "socket", refuse)
    assert hosts.names_of_this_host()[1] == []
