"""The operator's two words with a run's hub: how far is it, and "a person approved".

Both go over mutual TLS with the job's own ``operator`` pair, to the hub pod's address; the hub is
verified by the name in its certificate, not by the address.
"""

from __future__ import annotations

import hashlib
import ssl
import tempfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from pydantic import ValidationError

from haversack_trainer.contract.environment import HUB_PORT
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.contract.report import RunProgress

from . import certificates
from .base import ClusterError

TIMEOUT: Final = aiohttp.ClientTimeout(total=3, sock_connect=2)
MAX_PROGRESS_BYTES: Final = 4 * 2**20


class HubClient:
    """Talks to the hubs of all jobs."""

    def __init__(self, port: int = HUB_PORT) -> None:
        self._port = port
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, tuple[str, ssl.SSLContext]] = {}

    async def close(self) -> None:
        """Free the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def forget(self, run: str) -> None:
        """The run is over."""
        self._contexts.pop(run, None)

    async def progress(
        self, run: str, address: str, hub_name: str, secret: Mapping[str, bytes]
    ) -> RunProgress | None:
        """The run's progress, or None while the hub does not answer as it should."""
        try:
            async with self._open().get(
                self._url(address, run, "progress"),
                ssl=self._context(run, secret),
                server_hostname=hub_name,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    return None
                return RunProgress.model_validate_json(await _whole(answer))
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return None

    async def approve(
        self, run: str, address: str, hub_name: str, secret: Mapping[str, bytes], who: str
    ) -> None:
        """Append an APPROVAL. Raises ``ClusterError`` when the hub does not take it."""
        try:
            async with self._open().post(
                self._url(address, run, "log"),
                data=Record(Kind.APPROVAL, OPERATOR, 0, who.encode()).encode(),
                ssl=self._context(run, secret),
                server_hostname=hub_name,
            ) as answer:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    said = (await answer.text())[:200]
                    raise ClusterError(f"the hub of {run} refused the approval: {said}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClusterError(f"the hub of {run} does not answer: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        return self._session

    def _url(self, address: str, run: str, what: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"https://{host}:{self._port}/v1/runs/{run}/{what}"

    def _context(self, run: str, secret: Mapping[str, bytes]) -> ssl.SSLContext:
        print_ = hashlib.sha256(secret[f"{certificates.OPERATOR}.crt"]).hexdigest()
        known = self._contexts.get(run)
        if known is None or known[0] != print_:
            known = self._contexts[run] = (print_, client_context(secret))
        return known[1]


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body, read to its end. Raises ``ClientError`` if it is longer than any progress can be."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_PROGRESS_BYTES:
            raise aiohttp.ClientPayloadError(f"progress of more than {MAX_PROGRESS_BYTES} bytes")
    return bytes(body)


def client_context(secret: Mapping[str, bytes]) -> ssl.SSLContext:
    """TLS as the job's operator, trusting the job's authority only."""
    authority = secret[f"{certificates.CA}.crt"].decode()
    context = ssl.create_default_context(cadata=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Python reads a key pair from files only.
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(secret[f"{certificates.OPERATOR}.crt"])
        key.touch(mode=0o600)
        key.write_bytes(secret[f"{certificates.OPERATOR}.key"])
        context.load_cert_chain(certificate, key)
    return context
