"""Certificates for hub tests: a CA and key pairs as the operator makes them, laid out as a pod mounts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HUB_NAME = "job-hub.ns.svc"


def _name(common_name: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


@dataclass
class Authority:
    """One job's CA. ``folder(name)`` gives what the pod of that name mounts."""

    root: Path
    run: str = "ns.job.12345678"
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def folder(self, name: str, organization: str | None = None) -> Path:
        """``ca.crt``, ``tls.crt`` and ``tls.key`` for ``hub``, ``operator`` or ``peer-<n>``."""
        folder = self.root / f"{name}-{organization or self.run}"
        if not folder.exists():
            folder.mkdir(parents=True)
            self._write(folder, name, organization or self.run)
        return folder

    def _write(self, folder: Path, name: str, organization: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._builder(_name(name, organization), key.public_key())
        if name == "hub":
            san = x509.SubjectAlternativeName([x509.DNSName(HUB_NAME)])
            leaf = leaf.add_extension(san, critical=False)
        ca = self._builder(_name("ca", self.run), self.key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        pem = serialization.Encoding.PEM
        (folder / "ca.crt").write_bytes(ca.sign(self.key, hashes.SHA256()).public_bytes(pem))
        (folder / "tls.crt").write_bytes(leaf.sign(self.key, hashes.SHA256()).public_bytes(pem))
        (folder / "tls.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name("ca", self.run))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )
