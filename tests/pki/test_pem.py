from __future__ import annotations

import pytest

from pki import pem
from support import certs


def test_blocks() -> None:
    """Blocks are found in order among other text, with their labels."""
    data = b"hello\n" + certs.world().ca_pem + b"between\n" + certs.leaf().key_pem + b"bye"
    assert [block.label for block in pem.blocks(data)] == ["CERTIFICATE", "CERTIFICATE", "EC PRIVATE KEY"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_certificates(newline: bytes) -> None:
    """Certificates are decoded whatever ends their lines."""
    made = certs.leaf()
    assert pem.certificates_der(made.pem.replace(b"\n", newline)) == [made.der]


def test_broken_base64() -> None:
    """What is not base64 is an error, not an empty certificate."""
    with pytest.raises(ValueError, match="base64"):
        pem.certificates_der(b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n")


def test_unfinished_block() -> None:
    """A block without its end is none."""
    assert pem.blocks(certs.leaf().pem[:-20]) == []
