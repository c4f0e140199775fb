"""The certificate authority: makes itself, issues to nodes, signs their requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import files, minting
from pki.bundle import TrustBundle
from pki.credentials import CA_CERT, CA_KEY, CERT, KEY, PrivateKey, load_key, public_bytes
from pki.errors import FileError, RefusedError, shown
from pki.files import PRIVATE, NewFile, PkiFiles
from pki.hosts import alternative_names, names_of_this_host
from pki.parsed import PublicKey
from pki.request import Request
from pki.spiffe import DEFAULT_TRUST_DOMAIN, SpiffeId, node_id, parse_trust_domain
from pki.svid import Usage, violations

LEAF_LIFETIME = timedelta(days=365)

_LIFETIME = re.compile(r"([0-9]{1,6})([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@dataclass(frozen=True)
class Grant:
    """What was issued: the certificate, the identity it carries, and the file it stands in."""

    certificate: x509.Certificate
    spiffe_id: SpiffeId
    path: Path


@dataclass(frozen=True)
class Authority:
    """A CA that can sign: its certificate, its key, and the bundle that what it signs must verify under."""

    certificate: x509.Certificate
    key: PrivateKey
    bundle: TrustBundle

    @classmethod
    def load(cls, ca_cert: Path, ca_key: Path) -> Authority:
        """Read a CA; among several certificates the key finds its own. Raises ``FileError``."""
        bundle = TrustBundle.from_pem(files.read(ca_cert, key=CA_CERT), source=str(ca_cert), key=CA_CERT)
        key = load_key(ca_key, field=CA_KEY)
        own = public_bytes(key.public_key())
        for root in bundle.parsed:
            if public_bytes(root.public_key) == own:
                return cls(root.certificate, key, bundle)
        problem = f"the private key does not belong to the CA certificate in {ca_cert}"
        raise FileError(ca_key, problem, "name the CA's own key", key=CA_KEY)

    def certify(
        self,
        key: PublicKey,
        name: str,
        *,
        dns: Iterable[str] = (),
        ips: Iterable[str] = (),
        lifetime: timedelta = LEAF_LIFETIME,
    ) -> x509.Certificate:
        """Sign a node's certificate for ``spiffe://<trust domain>/node/<name>``.

        ``localhost``, 127.0.0.1 and ::1 are always among its names. Raises ``SpiffeIdError`` for the name,
        ``RefusedError`` for a host name, an address, a lifetime past the CA's end, and whenever the result would not
        verify.
        """
        identity = node_id(self.bundle.trust_domain, name)
        names = [x509.UniformResourceIdentifier(str(identity)), *alternative_names(dns, ips)]
        now = minting.this_second()
        end = _end(now, lifetime, self.certificate.not_valid_after_utc)
        certificate = minting.leaf(self.certificate, self.key, key, name, names, now, end)
        for usage in Usage:
            found = violations([certificate.public_bytes(Encoding.DER)], self.bundle, usage, now=now)
            if found:
                problem = f"every node would refuse the certificate: {found[0].message}"
                raise RefusedError(problem, "look at the CA with: tndrl-pki inspect ca.crt")
        return certificate


def parse_lifetime(text: str) -> timedelta:
    """Read a lifetime like ``365d``, ``12h``, ``30m`` or ``90s``. Raises ``RefusedError``."""
    found = _LIFETIME.fullmatch(text)
    if not found or not int(found[1]):
        cure = "write a number and d, h, m or s, like 365d or 12h"
        raise RefusedError(f"'{shown(text, 40)}' is not a lifetime", cure)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _end(now: datetime, lifetime: timedelta, last: datetime) -> datetime:
    """Return when a certificate issued now ends; ``last`` is the CA's own end."""
    if lifetime <= timedelta():
        raise RefusedError("the lifetime is not positive", "ask for one like 365d")
    left = last - now
    if left <= timedelta():
        raise RefusedError(f"the CA expired at {last:%Y-%m-%d %H:%M:%SZ}", "make a new CA: tndrl-pki init")
    if lifetime > left:
        longest = f"{left.days}d" if left.days else f"{int(left.total_seconds())}s"
        problem = f"the lifetime reaches past the CA's end at {last:%Y-%m-%d %H:%M:%SZ}"
        raise RefusedError(problem, f"ask for at most --lifetime {longest}, or make a new CA")
    return now + lifetime


def init(directory: Path, trust_domain: str = DEFAULT_TRUST_DOMAIN) -> Grant:
    """Make a CA for a trust domain: ``ca.crt`` and ``ca.key`` in a directory, which is created (0700) if missing.

    It lasts 10 years and signs leaves only. Raises ``RefusedError`` if either file exists, ``SpiffeIdError`` for the
    trust domain, ``FileError`` if the disk says no.
    """
    return _init(PkiFiles.within(directory), trust_domain)


def _init(where: PkiFiles, trust_domain: str) -> Grant:
    identity = SpiffeId(parse_trust_domain(trust_domain))
    key = minting.new_key()
    certificate = minting.root(key, identity, minting.this_second())
    files.create(
        [NewFile(where.ca_key, minting.sec1(key), PRIVATE), NewFile(where.ca_cert, _pem(certificate))],
    )
    return Grant(certificate, identity, where.ca_cert)


def issue(
    directory: Path,
    name: str,
    *,
    dns: Iterable[str] = (),
    ips: Iterable[str] = (),
    lifetime: timedelta = LEAF_LIFETIME,
    out: Path | None = None,
) -> Grant:
    """Issue ``tndrl.crt`` and ``tndrl.key`` into ``out`` (by default ``directory``) with the CA in ``directory``.

    ``out`` is created (0700) if missing; neither file may exist. Raises as ``Authority.certify`` does, and
    ``FileError`` for the CA's files and the disk.
    """
    ours, theirs = PkiFiles.within(directory), PkiFiles.within(out or directory)
    authority = Authority.load(ours.ca_cert, ours.ca_key)
    key = minting.new_key()
    certificate = authority.certify(key.public_key(), name, dns=dns, ips=ips, lifetime=lifetime)
    files.create(
        [NewFile(theirs.key, minting.sec1(key), PRIVATE), NewFile(theirs.cert, _pem(certificate))],
    )
    return Grant(certificate, node_id(authority.bundle.trust_domain, name), theirs.cert)


def make_csr(name: str, out: Path) -> Path:
    """Make a key and a request for it: ``tndrl.key`` and ``tndrl.csr`` in ``out``; return the request's path.

    ``out`` is created (0700) if missing; neither file may exist. Raises ``SpiffeIdError`` and ``RefusedError`` for
    the name (at most 64 characters: a request carries it as common name), ``FileError`` if the disk says no.
    """
    node_id(DEFAULT_TRUST_DOMAIN, name)
    if len(name) > minting.MAX_COMMON_NAME:
        problem = f"a name in a request has at most {minting.MAX_COMMON_NAME} characters"
        raise RefusedError(problem, "choose a shorter one, or use: tndrl-pki issue")
    key = minting.new_key()
    encoded = minting.request(key, name).public_bytes(Encoding.PEM)
    path = out / "tndrl.csr"
    files.create([NewFile(PkiFiles.within(out).key, minting.sec1(key), PRIVATE), NewFile(path, encoded)])
    return path


def sign(
    csr: Path,
    directory: Path,
    out: Path,
    *,
    dns: Iterable[str] = (),
    ips: Iterable[str] = (),
    lifetime: timedelta = LEAF_LIFETIME,
) -> Grant:
    """Sign a request with the CA in ``directory``, into the new file ``out``.

    The key and the name come from the request, everything else from here: names, usages, lifetime. Raises
    ``FileError`` for a file, ``RefusedError`` for a request that does not prove its key, asks for another trust
    domain or has an unsupported key, and as ``Authority.certify`` does.
    """
    where = PkiFiles.within(directory)
    authority = Authority.load(where.ca_cert, where.ca_key)
    request = Request.read(csr)
    name = request.name(authority.bundle.trust_domain)
    certificate = authority.certify(request.public_key, name, dns=dns, ips=ips, lifetime=lifetime)
    files.create([NewFile(out, _pem(certificate))])
    return Grant(certificate, node_id(authority.bundle.trust_domain, name), out)


def ensure(
    directory: Path,
    name: str,
    dns: Iterable[str] = (),
    ips: Iterable[str] = (),
    *,
    where: PkiFiles | None = None,
    trust_domain: str = DEFAULT_TRUST_DOMAIN,
) -> list[Path]:
    """Create what a node needs and lacks (``--pki-init``); return the files created, none if all are there.

    A missing certificate is issued for this host's names and addresses and for ``dns`` and ``ips``. ``where`` is
    where the files are if not under their usual names in ``directory``. Nodes that start at once over one directory
    wait for each other. Asks the resolver when it issues, so it may block. Raises ``FileError`` where half of a pair
    is missing and cannot be made, else as ``init`` and ``issue`` do.
    """
    where = where or PkiFiles.within(directory)
    files.make_directory(directory)
    with files.locked(directory):
        created: list[Path] = []
        _refuse_halves(where)
        if not where.ca_cert.exists():
            _init(where, trust_domain)
            created += [where.ca_cert, where.ca_key]
        if not where.cert.exists():
            created += _complete(where, name, dns, ips)
        return created


def _refuse_halves(where: PkiFiles) -> None:
    """Refuse what would need a file that only its lost other half could give."""
    if where.cert.exists() and not where.key.exists():
        problem = f"does not exist, but its certificate {where.cert} does"
        raise FileError(where.key, problem, "bring the key back, or move the certificate away", key=KEY)
    if where.ca_cert.exists():
        return
    for path, field in ((where.ca_key, CA_KEY), (where.cert, CERT)):
        if path.exists():
            problem = f"exists, but the CA certificate {where.ca_cert} does not"
            raise FileError(path, problem, "bring the CA certificate back, or move this away", key=field)


def _complete(where: PkiFiles, name: str, dns: Iterable[str], ips: Iterable[str]) -> list[Path]:
    """Issue a node's certificate, for the key that is there or a new one."""
    host_names, addresses = names_of_this_host()
    authority = Authority.load(where.ca_cert, where.ca_key)
    key: PrivateKey
    if where.key.exists():
        key, new = load_key(where.key, field=KEY), []
    else:
        key = minting.new_key()
        new = [NewFile(where.key, minting.sec1(key), PRIVATE)]
    certificate = authority.certify(key.public_key(), name, dns=(*host_names, *dns), ips=(*addresses, *ips))
    new.append(NewFile(where.cert, _pem(certificate)))
    files.create(new)
    return [file.path for file in new]


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
