"""Certificates for tests: a factory for good and bad ones, and the table of every bad one with its alert.

``make`` signs whatever it is told to. ``resign`` changes the encoded certificate behind the library's back and
signs it again, for what the library refuses to build. ``BAD`` and ``GOOD`` build a fresh chain at every call, so
that a certificate "expired since one second" is just that.

    chain = BAD["TLS-06"].make(Usage.CLIENT)      # what the rogue client presents
    chain.chain_der, chain.key, BAD["TLS-06"].alert(Usage.CLIENT)
    write_pki_dir(directory)                      # ca.crt, tndrl.crt, tndrl.key of a node of the same world
"""

from __future__ import annotations

import base64
import functools
import hashlib
import ipaddress
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from pki.alerts import Alert
from pki.svid import Usage

DOMAIN = "tndrl"
NODE = "spiffe://tndrl/node/a"
DAY = 86400.0
LEAF_USAGE = ("digital_signature", "key_encipherment")
CA_USAGE = ("key_cert_sign", "crl_sign")
BOTH_EKU = (Eku.SERVER_AUTH, Eku.CLIENT_AUTH)
UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.99.1"), b"\x05\x00")

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Made:
    """A certificate (perhaps one that does not parse), its key, and the intermediates to send after it."""

    der: bytes
    key: Key
    intermediates: tuple[Made, ...] = ()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def pem(self) -> bytes:
        return pem(self.der)

    @property
    def chain_der(self) -> list[bytes]:
        return [self.der, *(made.der for made in self.intermediates)]

    @property
    def chain_pem(self) -> bytes:
        return b"".join(pem(der) for der in self.chain_der)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8
            if isinstance(self.key, ed25519.Ed25519PrivateKey)
            else serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def behind(self, *intermediates: Made) -> Made:
        """The same certificate, sent with these intermediates."""
        return replace(self, intermediates=intermediates)


def pem(der: bytes) -> bytes:
    body = base64.b64encode(der)
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


@functools.cache
def key(kind: str = "p256", name: str = "") -> Key:
    """A key of a kind: p256, p384, p521, ed25519 or rsaBITS. One per (kind, name): RSA is slow."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    curve = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[kind]
    return ec.generate_private_key(curve())


def moment(offset: float) -> datetime:
    """A whole second this many seconds from now (X.509 knows no fractions)."""
    return datetime.fromtimestamp(int(datetime.now(UTC).timestamp() + offset), UTC)


def make(
    issuer: Made | None,
    *,
    name: str = "leaf",
    private: Key | None = None,
    public: object = None,
    uris: Iterable[str] = (NODE,),
    dns: Iterable[str] = ("localhost",),
    ips: Iterable[str] = ("127.0.0.1", "::1"),
    san_critical: bool = False,
    ca: bool | None = False,
    path_length: int | None = None,
    usage: Sequence[str] | None = LEAF_USAGE,
    usage_critical: bool = True,
    eku: Sequence[x509.ObjectIdentifier] | None = BOTH_EKU,
    start: float = -60,
    end: float = 365 * DAY,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    aki: bool = True,
) -> Made:
    """Sign a certificate: a good leaf unless told otherwise. ``start`` and ``end`` are seconds from now.

    ``issuer`` None is self-signed; ``ca``, ``usage`` or ``eku`` None leaves the extension out.
    """
    private = private or ec.generate_private_key(ec.SECP256R1())
    public = public or private.public_key()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(start))
        .not_valid_after(moment(end))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)  # type: ignore[arg-type]
    )
    if aki and issuer:
        issuer_key = issuer.key.public_key()
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if usage is not None:
        builder = builder.add_extension(key_usage(usage), critical=usage_critical)
    if eku is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=False)
    names = alternative_names(uris, dns, ips)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=san_critical)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    signer = issuer.key if issuer else private
    hash_ = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(signer, hash_)
    return Made(certificate.public_bytes(serialization.Encoding.DER), private)


def key_usage(names: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in names,
        content_commitment=False,
        key_encipherment="key_encipherment" in names,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign="key_cert_sign" in names,
        crl_sign="crl_sign" in names,
        encipher_only=False,
        decipher_only=False,
    )


def alternative_names(uris: Iterable[str], dns: Iterable[str], ips: Iterable[str]) -> list[x509.GeneralName]:
    """URIs go in unchecked: bad ones are what the tests are about."""
    return [
        *(x509.UniformResourceIdentifier._init_without_validation(uri) for uri in uris),
        *(x509.DNSName(name) for name in dns),
        *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips),
    ]


def make_ca(
    issuer: Made | None = None, *, name: str = "Test CA", domain: str | None = DOMAIN, **tweaks: object
) -> Made:
    """A root, or an intermediate of ``issuer``."""
    given: dict[str, object] = {
        "uris": [f"spiffe://{domain}"] if domain else [],
        "dns": (),
        "ips": (),
        "ca": True,
        "usage": CA_USAGE,
        "eku": None,
        "end": 3650 * DAY,
    }
    return make(issuer, name=name, **(given | tweaks))  # type: ignore[arg-type]


# Encoded certificates changed by hand.


def tlv(tag: int, *content: bytes) -> bytes:
    """One DER element."""
    body = b"".join(content)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def children(der: bytes) -> list[bytes]:
    """The elements inside one constructed DER element."""
    found = []
    at, end = _body(der, 0)
    while at < end:
        stop = _body(der, at)[1]
        found.append(der[at:stop])
        at = stop
    return found


def _body(der: bytes, at: int) -> tuple[int, int]:
    first = der[at + 1]
    if first < 0x80:
        return at + 2, at + 2 + first
    size = first & 0x7F
    return at + 2 + size, at + 2 + size + int.from_bytes(der[at + 2 : at + 2 + size], "big")


VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, PUBLIC_KEY, EXTENSIONS = range(8)
"""Where things stand among the children of a version 3 TBSCertificate."""

SHA1_ECDSA = (bytes.fromhex("300906072a8648ce3d0401"), hashes.SHA1())  # noqa: S303
SHA256_ECDSA = (bytes.fromhex("300a06082a8648ce3d040302"), hashes.SHA256())
SHA1_RSA = (bytes.fromhex("300d06092a864886f70d0101050500"), hashes.SHA1())  # noqa: S303
MD5_RSA = (bytes.fromhex("300d06092a864886f70d0101040500"), hashes.MD5())  # noqa: S303


def resign(
    made: Made,
    issuer: Made,
    change: Callable[[list[bytes]], None] = lambda fields: None,
    algorithm: tuple[bytes, hashes.HashAlgorithm] = SHA256_ECDSA,
) -> Made:
    """The same certificate after ``change`` to its fields, correctly signed with the algorithm."""
    identifier, hash_ = algorithm
    fields = children(children(made.der)[0])
    fields[ALGORITHM] = identifier
    change(fields)
    tbs = tlv(0x30, *fields)
    if isinstance(issuer.key, ec.EllipticCurvePrivateKey):
        signature = issuer.key.sign(tbs, ec.ECDSA(hash_))
    elif isinstance(issuer.key, rsa.RSAPrivateKey):
        signature = issuer.key.sign(tbs, padding.PKCS1v15(), hash_)
    else:
        raise AssertionError("resign knows ECDSA and RSA only")
    return replace(made, der=tlv(0x30, tbs, identifier, tlv(0x03, b"\0", signature)))


def corrupt_signature(made: Made) -> Made:
    """The same certificate with one bit of its signature turned."""
    flipped = bytearray(made.der)
    flipped[-1] ^= 1
    return replace(made, der=bytes(flipped))


def _set(index: int, value: bytes) -> Callable[[list[bytes]], None]:
    def change(fields: list[bytes]) -> None:
        fields[index] = value

    return change


def _version(number: int | None) -> Callable[[list[bytes]], None]:
    def change(fields: list[bytes]) -> None:
        fields[:1] = [] if number is None else [tlv(0xA0, tlv(0x02, bytes([number])))]

    return change


def _duplicate_extension(fields: list[bytes]) -> None:
    extensions = children(children(fields[EXTENSIONS])[0])
    fields[EXTENSIONS] = tlv(0xA3, tlv(0x30, *extensions, extensions[-1]))


def _bad_point(fields: list[bytes]) -> None:
    fields[PUBLIC_KEY] = fields[PUBLIC_KEY][:-64] + b"\x01" * 64


def random_rsa(bits: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    """A public key nobody has the private key of: making a real one of this size takes minutes."""
    modulus = int.from_bytes(os.urandom(bits // 8), "big") | 1 | (1 << (bits - 1))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


# The world the tables live in: what a node under test trusts.


@dataclass(frozen=True)
class World:
    """A root, a second root that has expired, and a stranger's root. A node trusts the first two."""

    root: Made = field(default_factory=make_ca)
    expired_root: Made = field(
        default_factory=lambda: make_ca(name="Expired CA", start=-10 * DAY, end=-DAY),
    )
    stranger: Made = field(default_factory=lambda: make_ca(name="Stranger CA"))

    @property
    def ca_pem(self) -> bytes:
        return self.root.pem + self.expired_root.pem


@functools.cache
def world() -> World:
    """The world of this process."""
    return World()


def leaf(issuer: Made | None = None, **tweaks: object) -> Made:
    """A leaf of ``issuer``, by default of the world's root."""
    return make(issuer or world().root, **tweaks)  # type: ignore[arg-type]


def node_leaf(name: str, **tweaks: object) -> Made:
    """A good leaf for ``spiffe://tndrl/node/<name>``."""
    return leaf(**({"uris": [f"spiffe://{DOMAIN}/node/{name}"]} | tweaks))


def write_pki_dir(directory: Path, chain: Made | None = None, ca_pem: bytes | None = None) -> Path:
    """Write a node's ``ca.crt``, ``tndrl.crt`` and ``tndrl.key`` (0600); a good node "a" by default."""
    chain = chain or node_leaf("a")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.crt").write_bytes(ca_pem or world().ca_pem)
    (directory / "tndrl.crt").write_bytes(chain.chain_pem)
    (directory / "tndrl.key").touch(mode=0o600)
    (directory / "tndrl.key").write_bytes(chain.key_pem)
    return directory


# The tables.


@dataclass(frozen=True)
class Case:
    """One row: how to make the chain that a peer in a role presents, and the alert it must get."""

    name: str
    build: Callable[[Usage], Made | None]
    client: Alert | None
    server: Alert | None

    def make(self, usage: Usage) -> Made | None:
        """A fresh chain for a peer in this role; None presents no certificate at all."""
        return self.build(usage)

    def chain_der(self, usage: Usage) -> list[bytes]:
        made = self.make(usage)
        return made.chain_der if made else []

    def alert(self, usage: Usage) -> Alert | None:
        """The alert due to a peer that presents the chain in this role; None: it is accepted."""
        return self.client if usage is Usage.CLIENT else self.server


_Uri = x509.UniformResourceIdentifier

BAD: dict[str, Case] = {}
GOOD: dict[str, Case] = {}


def bad(name: str, alert: Alert, build: Callable[[Usage], Made | None], server: Alert | None = None) -> None:
    BAD[name] = Case(name, build, alert, server or alert)


def good(name: str, build: Callable[[Usage], Made | None]) -> None:
    GOOD[name] = Case(name, build, None, None)


def bad_leaf(name: str, alert: Alert, **tweaks: object) -> None:
    """A row in which only the leaf is unusual; a callable tweak is called at every make."""
    bad(name, alert, lambda usage: leaf(**{k: v() if callable(v) else v for k, v in tweaks.items()}))


def good_leaf(name: str, **tweaks: object) -> None:
    good(name, lambda usage: leaf(**{k: v() if callable(v) else v for k, v in tweaks.items()}))


def bad_issuer(name: str, alert: Alert, **tweaks: object) -> None:
    """A row with one unusual intermediate above a good leaf."""

    def build(usage: Usage) -> Made:
        middle = make_ca(
            world().root, name="Middle CA", **{k: v() if callable(v) else v for k, v in tweaks.items()}
        )
        return leaf(middle).behind(middle)

    bad(name, alert, build)


def bad_bytes(name: str, change: Callable[[bytes], bytes]) -> None:
    def build(usage: Usage) -> Made:
        made = leaf()
        return replace(made, der=change(made.der))

    bad(name, Alert.bad_certificate, build)


def bad_resigned(name: str, change: Callable[[list[bytes]], None]) -> None:
    bad(name, Alert.bad_certificate, lambda usage: resign(leaf(), world().root, change))


def middles(count: int, **tweaks: object) -> list[Made]:
    """Intermediates under the world's root, the one that signs leaves first."""
    chain: list[Made] = []
    for number in range(count):
        chain.insert(0, make_ca(chain[0] if chain else world().root, name=f"Middle {number}", **tweaks))
    return chain


def _opposite_eku(usage: Usage) -> Made:
    return leaf(eku=[Eku.SERVER_AUTH if usage is Usage.CLIENT else Eku.CLIENT_AUTH])


def _same_name_other_key(usage: Usage, aki: bool = True) -> Made:
    return leaf(make_ca(name="Test CA"), aki=aki)


def _missing_middle(usage: Usage) -> Made:
    return leaf(middles(1)[0])


def _expired_middle(usage: Usage) -> Made:
    middle = make_ca(world().root, name="Middle CA", start=-10 * DAY, end=-DAY)
    return leaf(middle).behind(middle)


def _middle_as_leaf(usage: Usage) -> Made:
    return make_ca(world().root, name="Middle CA")


def _path_length(usage: Usage) -> Made:
    narrow = make_ca(world().root, name="Narrow CA", path_length=0)
    below = make_ca(narrow, name="Below CA")
    return leaf(below).behind(below, narrow)


def _too_long(usage: Usage) -> Made:
    chain = middles(4)
    return leaf(chain[0]).behind(*chain)


def _cycle(usage: Usage) -> Made:
    one, two = make_ca(name="One"), make_ca(name="Two")
    crossed = make_ca(two, name="One", private=one.key), make_ca(one, name="Two", private=two.key)
    return leaf(one).behind(*crossed)


def _junk(usage: Usage) -> Made:
    junk = make_ca(name="Junk")
    return leaf().behind(*([junk] * 30))


def _foreign(issuer: Callable[[], Made]) -> Callable[[Usage], Made]:
    return lambda usage: leaf(issuer(), uris=["spiffe://elsewhere/node/a"])


def _weak_middle(bits: int) -> Callable[[Usage], Made]:
    def build(usage: Usage) -> Made:
        middle = make_ca(world().root, name="Weak CA", private=key(f"rsa{bits}"))
        return leaf(middle).behind(middle)

    return build


def _huge_middle(usage: Usage) -> Made:
    middle = make_ca(world().root, name="Huge CA", public=random_rsa(16384))
    below = leaf(replace(middle, key=key("rsa2048")))
    return below.behind(middle)


def _old_hash_leaf(kind: str, algorithm: tuple[bytes, hashes.HashAlgorithm]) -> Callable[[Usage], Made]:
    def build(usage: Usage) -> Made:
        middle = make_ca(world().root, name="Middle CA", private=key(kind, "middle"))
        return resign(leaf(middle), middle, algorithm=algorithm).behind(middle)

    return build


def _old_hash_middle(usage: Usage) -> Made:
    root = world().root
    middle = resign(make_ca(root, name="Middle CA"), root, algorithm=SHA1_ECDSA)
    return leaf(middle).behind(middle)


def _corrupt_middle(usage: Usage) -> Made:
    middle = make_ca(world().root, name="Middle CA")
    return leaf(middle).behind(corrupt_signature(middle))


def _unparsable_middle(usage: Usage) -> Made:
    made = leaf()
    return made.behind(replace(made, der=b"\x30\x03\x02\x01\x00"))


def _own_root_as_leaf(usage: Usage) -> Made:
    return world().root


def _from_expired_root(usage: Usage) -> Made:
    return leaf(world().expired_root)


def _huge_san() -> list[str]:
    return [f"{hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()[:50]}.example" for i in range(600)]


bad("TLS-01", Alert.certificate_required, lambda usage: None, server=Alert.decode_error)
bad("TLS-02", Alert.unknown_ca, lambda usage: leaf(world().stranger))
bad("TLS-03", Alert.unknown_ca, _same_name_other_key)
bad("TLS-03 no AKI", Alert.unknown_ca, lambda usage: _same_name_other_key(usage, aki=False))
bad("TLS-04", Alert.unknown_ca, lambda usage: make(None))
bad("TLS-05", Alert.unknown_ca, _missing_middle)
bad_leaf("TLS-06", Alert.certificate_expired, start=-10 * DAY, end=-DAY)
bad_leaf("TLS-06 by 1 s", Alert.certificate_expired, start=-DAY, end=-1)
bad_leaf("TLS-07", Alert.certificate_expired, start=DAY)
bad_leaf("TLS-07 by 1 s", Alert.certificate_expired, start=2)
bad("TLS-08", Alert.certificate_expired, _expired_middle)
bad("TLS-09", Alert.certificate_expired, _from_expired_root)
bad("TLS-10", Alert.unsupported_certificate, _opposite_eku)
bad_leaf("TLS-11", Alert.unsupported_certificate, eku=[Eku.CODE_SIGNING])
bad_leaf("TLS-12", Alert.unsupported_certificate, eku=[Eku.ANY_EXTENDED_KEY_USAGE])
bad_leaf("TLS-14", Alert.unsupported_certificate, usage=["key_encipherment"])
bad_leaf("TLS-15", Alert.bad_certificate, usage=None)
bad_leaf("TLS-15 not critical", Alert.bad_certificate, usage_critical=False)
bad_leaf("TLS-16", Alert.bad_certificate, usage=[*LEAF_USAGE, "key_cert_sign"])
bad_leaf("TLS-16 cRLSign", Alert.bad_certificate, usage=[*LEAF_USAGE, "crl_sign"])
bad_leaf("TLS-18", Alert.bad_certificate, ca=True)
bad("TLS-19 root", Alert.bad_certificate, _own_root_as_leaf)
bad("TLS-19 intermediate", Alert.bad_certificate, _middle_as_leaf)
bad("TLS-20", Alert.unknown_ca, _path_length)
bad_issuer("TLS-21 CA:FALSE", Alert.unknown_ca, ca=False)
bad_issuer("TLS-21 no keyCertSign", Alert.unknown_ca, usage=["crl_sign"])
bad_issuer("TLS-21 no basicConstraints", Alert.unknown_ca, ca=None)
bad_issuer("TLS-21 no keyUsage", Alert.unknown_ca, usage=None)
bad("TLS-22 too long", Alert.unknown_ca, _too_long)
bad("TLS-22 cycle", Alert.unknown_ca, _cycle)
bad("TLS-22 junk", Alert.unknown_ca, _junk)
bad_leaf("TLS-23", Alert.bad_certificate, uris=(), dns=(), ips=())
bad_leaf("TLS-24", Alert.bad_certificate, uris=())
bad_leaf("TLS-25 two SPIFFE", Alert.bad_certificate, uris=[NODE, "spiffe://tndrl/node/b"])
bad_leaf("TLS-25 SPIFFE and https", Alert.bad_certificate, uris=[NODE, "https://example.com/"])
bad_leaf("TLS-26 https", Alert.bad_certificate, uris=["https://tndrl/node/a"])
bad_leaf("TLS-26 upper case", Alert.bad_certificate, uris=["Spiffe://tndrl/node/a"])
bad_leaf("TLS-26 one slash", Alert.bad_certificate, uris=["spiffe:/tndrl/node/a"])
bad("TLS-27 no bundle", Alert.unknown_ca, _foreign(lambda: world().stranger))
bad("TLS-27 our CA", Alert.bad_certificate, _foreign(lambda: world().root))
for _row, _uri in {
    "no path": "spiffe://tndrl",
    "trailing slash": "spiffe://tndrl/node/",
    "only slash": "spiffe://tndrl/",
    "empty segment": "spiffe://tndrl//a",
    "dot": "spiffe://tndrl/./a",
    "dot dot": "spiffe://tndrl/node/../a",
    "percent": "spiffe://tndrl/node/%61",
    "NUL": "spiffe://tndrl/node/a\0b",
    "space": "spiffe://tndrl/node/a b",
    "non-ASCII": "spiffe://tndrl/node/\u00e4",
    "query": "spiffe://tndrl/node/a?b",
    "fragment": "spiffe://tndrl/node/a#b",
    "2049 bytes": "spiffe://tndrl/" + "a" * (2049 - 15),
}.items():
    bad_leaf(f"TLS-29 {_row}", Alert.bad_certificate, uris=[_uri])
bad_leaf("TLS-35 RSA 1024", Alert.bad_certificate, private=lambda: key("rsa1024"))
bad_leaf("TLS-35 RSA 2047", Alert.bad_certificate, private=lambda: key("rsa2047"))
bad("TLS-35 intermediate", Alert.bad_certificate, _weak_middle(1024))
bad_leaf("TLS-36", Alert.bad_certificate, public=lambda: random_rsa(16384))
bad("TLS-36 intermediate", Alert.bad_certificate, _huge_middle)
bad_leaf("TLS-36 exponent", Alert.bad_certificate, public=lambda: random_rsa(2048, (1 << 2000) + 1))
bad_leaf("TLS-36 names", Alert.bad_certificate, dns=_huge_san)
bad("TLS-39 SHA-1 leaf", Alert.bad_certificate, _old_hash_leaf("p256", SHA1_ECDSA))
bad("TLS-39 SHA-1 RSA leaf", Alert.bad_certificate, _old_hash_leaf("rsa2048", SHA1_RSA))
bad("TLS-39 MD5 leaf", Alert.bad_certificate, _old_hash_leaf("rsa2048", MD5_RSA))
bad("TLS-39 SHA-1 intermediate", Alert.bad_certificate, _old_hash_middle)
bad("TLS-40", Alert.bad_certificate, lambda usage: corrupt_signature(leaf()))
bad("TLS-40 intermediate", Alert.bad_certificate, _corrupt_middle)
bad_bytes("TLS-43 garbage", lambda der: b"\x00" * 40)
bad_bytes("TLS-43 empty", lambda der: b"")
bad_bytes("TLS-43 truncated", lambda der: der[:-20])
bad_bytes("TLS-43 trailing bytes", lambda der: der + b"\x00")
bad("TLS-43 intermediate", Alert.bad_certificate, _unparsable_middle)
bad_resigned("TLS-43 version 1", _version(None))
bad_resigned("TLS-43 version 2", _version(1))
bad_resigned("TLS-43 version 4", _version(3))
bad_resigned("TLS-43 version 9", _version(8))
bad_resigned("TLS-43 negative serial", _set(SERIAL, tlv(0x02, b"\x80\x01")))
bad_resigned("TLS-43 serial of 21 bytes", _set(SERIAL, tlv(0x02, b"\x01" * 21)))
bad_resigned("TLS-43 duplicate extension", _duplicate_extension)
bad_resigned("TLS-43 invalid public key", _bad_point)
bad_leaf("TLS-44", Alert.certificate_unknown, extra=[(UNKNOWN_EXTENSION, True)])
bad_issuer("TLS-44 intermediate", Alert.certificate_unknown, extra=[(UNKNOWN_EXTENSION, True)])
for _row, _permitted, _excluded in (
    ("not permitted", [_Uri("elsewhere")], None),
    ("not permitted below", [_Uri(".tndrl")], None),
    ("excluded", None, [_Uri("tndrl")]),
    ("excluded and permitted", [_Uri("tndrl")], [_Uri("tndrl")]),
    ("DNS not permitted", [x509.DNSName("example.org")], None),
    ("not understood", [_Uri("tndrl"), x509.RFC822Name("tndrl")], None),
):
    bad_issuer(
        f"TLS-45 {_row}",
        Alert.certificate_unknown,
        extra=[(x509.NameConstraints(_permitted, _excluded), True)],
    )
bad_leaf("key Ed25519", Alert.unsupported_certificate, private=lambda: key("ed25519"))
bad_leaf("key P-521", Alert.unsupported_certificate, private=lambda: key("p521"))


def _behind_middles(count: int) -> Callable[[Usage], Made]:
    def build(usage: Usage) -> Made:
        chain = middles(count)
        return leaf(chain[0]).behind(*chain)

    return build


def _shuffled(usage: Usage) -> Made:
    chain = middles(2)
    return leaf(chain[0]).behind(*reversed(chain))


good_leaf("plain")
good_leaf("TLS-13 no EKU", eku=None)
good_leaf("one name", dns=(), ips=())
good_leaf("other path", uris=["spiffe://tndrl/ns/prod/sa/web"])
good_leaf("2048 bytes", uris=["spiffe://tndrl/" + "a" * (2048 - 15)])
good_leaf("no basicConstraints", ca=None)
good_leaf("no AKI", aki=False)
good_leaf("critical SAN", san_critical=True)
good_leaf("unknown extension, not critical", extra=[(UNKNOWN_EXTENSION, False)])
good_leaf("P-384", private=lambda: key("p384"))
good_leaf("RSA 2048", private=lambda: key("rsa2048"))
good_leaf("backdated 60 s", start=-60)
good(
    "needed EKU only", lambda usage: leaf(eku=[Eku.CLIENT_AUTH if usage is Usage.CLIENT else Eku.SERVER_AUTH])
)
good("one intermediate", _behind_middles(1))
good("three intermediates", _behind_middles(3))
good("intermediates in another order", _shuffled)
good("root sent along", lambda usage: leaf().behind(world().root))


def _constrained(permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None) -> object:
    def build(usage: Usage) -> Made:
        middle = make_ca(
            world().root, name="Middle CA", extra=[(x509.NameConstraints(permitted, excluded), True)]
        )
        return leaf(middle).behind(middle)

    return build


good("TLS-45 permitted", _constrained([_Uri("TNDRL"), _Uri("elsewhere")], None))
good("TLS-45 not excluded", _constrained(None, [_Uri("elsewhere"), _Uri(".tndrl")]))
good("TLS-45 DNS permitted", _constrained([_Uri("tndrl"), x509.DNSName("localhost")], None))
