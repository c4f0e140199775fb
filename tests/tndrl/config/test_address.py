"""Addresses as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tndrl.config import Address, parse_address
from tndrl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("backend:4433", "backend", 4433),
        ("back_end-1.example.org.:1", "back_end-1.example.org.", 1),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("[2001:db8::1]:4433", "2001:db8::1", 4433),
        ("[fe80::1%eth0]:4433", "fe80::1%eth0", 4433),
    ],
)
def test_good(text, host, port):
    """A host name, an IPv4 address and an IPv6 address in brackets are taken apart, and put together again."""
    address = parse_address(text)
    assert address == Address(host, port)
    assert str(address) == text


@pytest.mark.parametrize("text", [":4433", "0.0.0.0:0", "[::]:0"])
def test_only_for_listening(text):
    """Port 0 and a missing host are for listening only."""
    parse_address(text, listen=True)
    with pytest.raises(ConfigError):
        parse_address(text)


def test_no_host_means_every_address():
    """Listening without a host is listening on ``::``."""
    assert parse_address(":4433", listen=True) == Address("::", 4433)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no port"),
        ("backend", "has no port"),
        ("backend:", "the port '' is not a number from 1 to 65535"),
        ("backend:0", "the port '0'"),
        ("backend:65536", "the port '65536'"),
        ("backend:+1", "the port '+1'"),
        ("backend:٣", "the port"),
        ("2001:db8::1:4433", "'2001:db8::1' is no host name"),
        ("[2001:db8::g]:4433", "holds no IPv6 address"),
        ("[::\0]:1", "holds no IPv6 address"),
        ("256.1.1.1:1", "no host name or IP address"),
        ("1.2.3:1", "no host name or IP address"),
        ("a..b:1", "no host name or IP address"),
        ("-a:1", "no host name or IP address"),
        ("a b:1", "no host name or IP address"),
        ("a" * 64 + ":1", "no host name or IP address"),
        ("a.b" * 100 + ":1", "no host name or IP address"),
        ("http://a:1", "no host name or IP address"),
    ],
)
def test_bad(text, problem):
    """Anything else is refused with the reason and what to write."""
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert problem in caught.value.problem
    assert caught.value.problem.endswith("write host:port, an IPv6 address in brackets")


@given(st.text(alphabet="ab1.:[]%-\0é", max_size=12))
def test_any_text(text):
    """No text gets anything but an address or a ``ConfigError`` out of the parser."""
    try:
        shown = str(parse_address(text, listen=True))
    except ConfigError:
        return
    assert str(parse_address(shown, listen=True)) == shown
