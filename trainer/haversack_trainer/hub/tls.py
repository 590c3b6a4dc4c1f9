"""Who may talk to the hub: TLS with this job's CA on both sides, and the name in the certificate."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from haversack_trainer.contract.records import OPERATOR
from haversack_trainer.exchange.admission import Forged

from .journal import HubError

_logger: Final = logging.getLogger(__name__)
_PEER: Final = re.compile(r"peer-(0|[1-9][0-9]{0,4})")


class Credentials:
    """The hub's key pair; read again when it was renewed while the hub runs."""

    def __init__(self, tls_dir: Path) -> None:
        """Raises ``HubError``."""
        self._tls_dir = tls_dir
        self._read_at = self._changed_at()
        self.context = server_context(tls_dir)

    def refresh(self) -> None:
        """Connections from now on see the renewed pair."""
        changed_at = self._changed_at()
        if changed_at == self._read_at:
            return
        try:
            self.context.load_verify_locations(self._tls_dir / "ca.crt")
            self.context.load_cert_chain(self._tls_dir / "tls.crt", self._tls_dir / "tls.key")
        except OSError as error:
            # Half of it is there: the next look finds the rest.
            _logger.warning("the certificates at %s cannot be read: %s", self._tls_dir, error)
            return
        self._read_at = changed_at

    def _changed_at(self) -> int | None:
        try:
            return (self._tls_dir / "tls.crt").stat().st_mtime_ns
        except OSError:
            return None


def server_context(tls_dir: Path) -> ssl.SSLContext:
    """Shows the hub's certificate and asks for a client's of the same CA. Raises ``HubError``."""
    try:
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(tls_dir / "ca.crt")
        )
        context.load_cert_chain(tls_dir / "tls.crt", tls_dir / "tls.key")
    except OSError as error:
        raise HubError(
            f"{tls_dir} must hold a readable ca.crt, tls.crt and tls.key of this job: {error}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # Connections live for the whole run: tickets for resuming them would never be used.
    context.num_tickets = 0
    return context


def caller(certificate: Mapping[str, Any] | None, run: str) -> int:
    """The peer number that a verified client certificate speaks for.

    ``certificate`` is as ``SSLSocket.getpeercert`` gives it: CN ``peer-<ordinal>`` or ``operator``, O the
    run. Raises ``Forged``.
    """
    subject = dict(_attributes((certificate or {}).get("subject", ())))
    organization, name = subject.get("organizationName"), subject.get("commonName", "")
    if organization != run:
        raise Forged(f"the certificate is of run {organization!r}, this hub serves {run!r}")
    return _number(name)


@lru_cache(maxsize=1024)
def _number(name: str) -> int:
    if name == "operator":
        return OPERATOR
    match = _PEER.fullmatch(name)
    if match is None or int(match[1]) >= OPERATOR:
        raise Forged(f"the certificate's name {name!r} is neither peer-<ordinal> nor operator")
    return int(match[1])


def _attributes(subject: Iterable[Iterable[tuple[str, str]]]) -> Iterable[tuple[str, str]]:
    return (attribute for relative_name in subject for attribute in relative_name)
