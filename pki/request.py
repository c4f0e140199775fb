"""Certificate requests (PKCS#10): what a node asks of an authority."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from pki import files, pem
from pki.errors import FileError, RefusedError, SpiffeIdError, SvidError, shown
from pki.parsed import UNREADABLE, PublicKey, accepted_key
from pki.spiffe import SpiffeId, node_id


@dataclass(frozen=True)
class Request:
    """A request whose sender has the private key; nothing else in it is believed."""

    request: x509.CertificateSigningRequest
    public_key: PublicKey
    alternative_names: tuple[x509.GeneralName, ...]

    @classmethod
    def read(cls, path: Path) -> Request:
        """Read a request in PEM. Raises ``FileError``, and ``RefusedError`` for its key or its signature."""
        cure = "make it with: tndrl-pki csr NAME --out DIR"
        block = next(
            (b for b in pem.blocks(files.read(path)) if b.label.endswith("CERTIFICATE REQUEST")), None
        )
        if block is None:
            raise FileError(path, "holds no PEM certificate request", cure)
        try:
            request = x509.load_der_x509_csr(block.der)
            public_key = accepted_key(request.public_key())
            names = _alternative_names(request)
            proven = request.is_signature_valid
        except UNREADABLE as error:
            raise FileError(path, "the certificate request cannot be parsed", cure) from error
        except SvidError as error:
            raise RefusedError(f"request refused: {error}", cure) from error
        if not proven:
            raise RefusedError("request refused: its signature is not by the key it asks for", cure)
        return cls(request, public_key, names)

    def name(self, trust_domain: str) -> str:
        """Return the node name it asks for: its SPIFFE ID's if it has one, else the common name.

        Raises ``RefusedError`` for another trust domain, or an ID that is not a node's; ``SpiffeIdError`` for what
        is no ID.
        """
        uris = [
            name.value for name in self.alternative_names if isinstance(name, x509.UniformResourceIdentifier)
        ]
        if uris:
            return self._name_of_uri(uris, trust_domain)
        names = self.request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1 or not isinstance(names[0].value, str):
            cure = "make it with: tndrl-pki csr NAME --out DIR"
            raise RefusedError("request refused: it does not carry exactly one common name", cure)
        return names[0].value

    def _name_of_uri(self, uris: list[str], trust_domain: str) -> str:
        cure = f"ask for spiffe://{trust_domain}/node/NAME, or for the name alone: tndrl-pki csr NAME"
        asked = shown(", ".join(uris))
        if len(uris) > 1:
            raise RefusedError(f"request refused: it asks for several identities ({asked})", cure)
        identity = SpiffeId.parse(uris[0])
        name = identity.path.removeprefix("/node/")
        try:
            granted = node_id(trust_domain, name)
        except SpiffeIdError:
            granted = None
        if granted != identity:
            raise RefusedError(f"request refused: this CA does not issue {asked}", cure)
        return name


def _alternative_names(request: x509.CertificateSigningRequest) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()
