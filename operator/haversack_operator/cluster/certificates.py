"""A certificate authority per job, and a key pair for each name that takes part in its run.

Mutual TLS is the run log's only door: the hub knows a peer by the common name of its certificate,
``peer-<ordinal>`` or ``operator``, and the run by the organisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .base import ClusterError

CA: Final = "ca"
HUB: Final = "hub"
OPERATOR: Final = "operator"
LIFETIME: Final = timedelta(days=365)
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
"""Longer than any job, so that a renewed pair is trusted by who still has the old one."""
RENEWAL: Final = timedelta(days=30)
"""Pairs are made anew this long before they expire; kubelet brings them to the pods within minutes."""
CLOCK_SKEW: Final = timedelta(hours=1)
"""Certificates are valid from this long ago, for machines whose clocks are behind."""


def peer_name(ordinal: int) -> str:
    """Common name of a peer's certificate."""
    return f"peer-{ordinal}"


def names_in(secret: Mapping[str, bytes]) -> frozenset[str]:
    """Names of which both certificate and key are in the Secret's data."""
    names = {key.removesuffix(".crt") for key in secret if key.endswith(".crt")}
    return frozenset(name for name in names if f"{name}.key" in secret)


def lasting(secret: Mapping[str, bytes], now: datetime) -> frozenset[str]:
    """Those of ``names_in`` that need no renewal yet; none if their authority does."""
    due = now + RENEWAL
    names = frozenset(name for name in names_in(secret) if _end(secret[f"{name}.crt"]) > due)
    return names if CA in names else frozenset()


@lru_cache(maxsize=4096)
def _end(certificate: bytes) -> datetime:
    """When it expires; long ago if it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def complete(
    secret: Mapping[str, bytes], names: Iterable[str], *, run: str, hub_name: str, now: datetime
) -> dict[str, bytes]:
    """``secret`` with a pair for each of ``names``; what is there and will last stays as it is.

    An authority that does not last is made anew, and with it all pairs that there were. Keys are ``<name>.crt`` and ``<name>.key``, PEM; ``ca`` signs all others. ``hub_name`` becomes
    the hub's alternative name, so that it is verified whatever address it is reached by.
    """
    data, wanted = dict(secret), set(names)
    if CA not in lasting(data, now):
        data, wanted = _authority(run, now), wanted | names_in(secret)
    issuer = x509.load_pem_x509_certificate(data["ca.crt"])
    issuer_key = serialization.load_pem_private_key(data["ca.key"], password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ClusterError("the job's TLS Secret has a ca.key of another kind; delete the Secret")
    for name in sorted(wanted - lasting(data, now)):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(name, run), issuer.subject, key, now, LIFETIME)
        builder = _leaf(builder, issuer, key, hub_name if name == HUB else None)
        data |= _pem(name, builder.sign(issuer_key, hashes.SHA256()), key)
    return data


def _authority(run: str, now: datetime) -> dict[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(CA, run)
    builder = (
        _builder(subject, subject, key, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False, certify=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pem(CA, builder.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _leaf(
    builder: x509.CertificateBuilder,
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    hub_name: str | None,
) -> x509.CertificateBuilder:
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH
    if hub_name is not None:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH
        names = x509.SubjectAlternativeName([x509.DNSName(hub_name)])
        builder = builder.add_extension(names, critical=False)
    authority = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True, certify=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority),
            critical=False,
        )
    )


def _usage(*, sign: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str, run: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, run),
        ]
    )


def _pem(
    name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> dict[str, bytes]:
    return {
        f"{name}.crt": certificate.public_bytes(serialization.Encoding.PEM),
        f"{name}.key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }
