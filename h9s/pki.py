"""Certificates: the cluster's CA, who a certificate says its holder is, and join tokens' text.

Everybody in a cluster proves who they are with a certificate of its one CA. The subject's
organization (O) is the holder's role, the common name (CN) its name. Keys are ECDSA P-256.
This module makes and reads certificates; it decides nothing about what a role may do.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from h9s.clock import Clock, SystemClock
from h9s.errors import InvalidError, UsageError

ROLE_ADMIN = "h9s:admin"
ROLE_REPLICA = "h9s:replica"
ROLE_COMPONENT = "h9s:component"
ROLE_NODE = "h9s:node"

#: DNS names in the certificates of servers, so that their addresses may change.
APISERVER_NAME = "h9s-apiserver"
HOWBELET_NAME = "h9s-howbelet"

#: A certificate is valid from a little before it was made: clocks of machines differ.
_BACKDATE = datetime.timedelta(minutes=10)
_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True)
class Credential:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def save(self, certificate_path: str | os.PathLike[str], key_path: str | os.PathLike[str]) -> None:
        """Write both files; the key's is readable by its owner alone."""
        write_private(key_path, self.key)
        Path(certificate_path).write_bytes(self.certificate)

    @classmethod
    def load(cls, certificate_path: str | os.PathLike[str], key_path: str | os.PathLike[str]) -> Credential:
        """Read both files. Raises UsageError naming the one that cannot be read."""
        return cls(certificate=read_pem(certificate_path), key=read_pem(key_path))


@dataclass(frozen=True)
class Identity:
    """Who a certificate says its holder is: a replica's id, a node's or a person's name, and the role."""

    name: str
    role: str

    @classmethod
    def of_certificate(cls, certificate_pem: bytes) -> Identity:
        """Read the subject. Raises InvalidError where it has no CN or no O.

        Says nothing about who signed the certificate: TLS has verified that.
        """
        try:
            subject = x509.load_pem_x509_certificate(certificate_pem).subject
        except ValueError as error:
            raise InvalidError(f"not a certificate in PEM: {error}") from error
        return cls(
            name=_attribute(subject, NameOID.COMMON_NAME, "CN"),
            role=_attribute(subject, NameOID.ORGANIZATION_NAME, "O"),
        )


def create_ca(name: str, *, days: int = 3650, clock: Clock = _SYSTEM_CLOCK) -> Credential:
    """A new self-signed CA whose common name is `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, subject, key.public_key(), days=days, clock=clock)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Credential(certificate=_pem(certificate), key=_private_pem(key))


def issue(
    ca: Credential,
    *,
    common_name: str,
    organization: str,
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[str] = (),
    client: bool = True,
    server: bool = False,
    days: int = 365,
    clock: Clock = _SYSTEM_CLOCK,
) -> Credential:
    """A new key and a certificate for it, signed by `ca`."""
    key, request = make_csr(common_name)
    certificate = sign_csr(
        ca,
        request,
        common_name=common_name,
        organization=organization,
        dns_names=dns_names,
        ip_addresses=ip_addresses,
        client=client,
        server=server,
        days=days,
        clock=clock,
    )
    return Credential(certificate=certificate, key=key)


def make_csr(common_name: str) -> tuple[bytes, bytes]:
    """A new private key and a certificate signing request for it: (key PEM, request PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return _private_pem(key), request.public_bytes(serialization.Encoding.PEM)


def sign_csr(
    ca: Credential,
    request_pem: bytes,
    *,
    common_name: str,
    organization: str,
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[str] = (),
    client: bool = True,
    server: bool = False,
    days: int = 365,
    clock: Clock = _SYSTEM_CLOCK,
) -> bytes:
    """A certificate (PEM) for the public key of the request.

    Nothing else is taken from the request: names and uses are the caller's. Raises InvalidError
    where the request is not one, was not signed by its own key, or its key is not ECDSA P-256.
    """
    public_key = _requested_key(request_pem)
    ca_certificate = x509.load_pem_x509_certificate(ca.certificate)
    ca_key = serialization.load_pem_private_key(ca.key, password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise InvalidError("the CA's key is not an ECDSA key")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH] * client + [ExtendedKeyUsageOID.SERVER_AUTH] * server
    builder = (
        _builder(subject, ca_certificate.subject, public_key, days=days, clock=clock)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _pem(builder.sign(ca_key, hashes.SHA256()))


@dataclass(frozen=True)
class JoinToken:
    """What `howbelet --join` is given: a secret, and the CA that the answer has to come from.

    Its text is `h9s1.<id>.<secret>.<CA certificate, DER, base64url>`.
    """

    id: str
    secret: str
    ca: bytes

    def format(self) -> str:
        """The text to pass on. `ca` is PEM here and DER in the text."""
        certificate = x509.load_pem_x509_certificate(self.ca)
        der = certificate.public_bytes(serialization.Encoding.DER)
        return ".".join((_TOKEN_PREFIX, self.id, self.secret, _to_base64url(der)))

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read the text. Raises UsageError, without repeating the secret."""
        parts = text.strip().split(".")
        if len(parts) != 4 or parts[0] != _TOKEN_PREFIX:
            raise UsageError("a join token has the form h9s1.ID.SECRET.CERTIFICATE; copy it whole")
        _, token_id, secret, encoded = parts
        if not _TOKEN_PART.fullmatch(token_id) or not _TOKEN_PART.fullmatch(secret):
            raise UsageError("the join token's id or secret is damaged; copy it whole")
        try:
            certificate = x509.load_der_x509_certificate(_from_base64url(encoded))
        except ValueError as error:
            raise UsageError("the join token's certificate is damaged; copy it whole") from error
        return cls(id=token_id, secret=secret, ca=_pem(certificate))


_TOKEN_PREFIX = "h9s1"
_TOKEN_PART = re.compile(r"[A-Za-z0-9_-]+")


def write_private(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that its owner alone can read, from its first byte on."""
    Path(path).unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def read_pem(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes. Raises UsageError where it cannot be read or holds no PEM."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if b"-----BEGIN " not in content:
        raise UsageError(f"{path} is not a PEM file")
    return content


def _requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(request_pem)
        signed_by_itself = request.is_signature_valid
        public_key = request.public_key()
    except (ValueError, InvalidSignature) as error:
        raise InvalidError(f"not a certificate signing request in PEM: {error}") from error
    if not signed_by_itself:
        raise InvalidError("the certificate signing request is not signed by its own key")
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
        raise InvalidError("the certificate signing request's key is not ECDSA P-256")
    return public_key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    days: int,
    clock: Clock,
) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(int(clock.wall()), tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _attribute(subject: x509.Name, oid: x509.ObjectIdentifier, label: str) -> str:
    values = subject.get_attributes_for_oid(oid)
    if len(values) != 1:
        raise InvalidError(f"the certificate's subject has {len(values)} {label}, expected one")
    return str(values[0].value)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _to_base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_base64url(text: str) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
