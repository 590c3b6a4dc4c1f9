"""The API server as plain JSON over one aiohttp session.

The official client's models cost six CPU-seconds to import and nothing here needs them. This is the
only place where an HTTP status becomes an error of ours.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

import aiohttp

from haversack_operator.api import names

from .base import ClusterError, Manifest

TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)
PAGE: Final = 500
METADATA_ONLY: Final = "application/json;as={kind};g=meta.k8s.io;v=v1,application/json"

CORE: Final = "api/v1"
OURS: Final = f"apis/{names.API_VERSION}"
RESOURCES: Final[Mapping[str, tuple[str, str]]] = {
    "Pod": (CORE, "pods"),
    "Node": (CORE, "nodes"),
    "Service": (CORE, "services"),
    "ConfigMap": (CORE, "configmaps"),
    "Secret": (CORE, "secrets"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    names.JOB_KIND: (OURS, names.JOB_PLURAL),
    names.PLAN_KIND: (OURS, names.PLAN_PLURAL),
}


class Connection(Protocol):
    """What ``kopf.ConnectionInfo`` knows about reaching an API server."""

    @property
    def server(self) -> str: ...
    def as_http_headers(self) -> dict[str, str]: ...
    def as_ssl_context(self) -> ssl.SSLContext: ...


class Refusal(ClusterError):
    """The API server will not take it as it is (quota, admission, schema); waiting does not help."""


def path_of(kind: str, namespace: str | None, name: str = "", sub: str = "") -> str:
    """``/apis/…/namespaces/…/<plural>/<name>/<sub>``."""
    group, plural = RESOURCES[kind]
    parts = [group, *(("namespaces", namespace) if namespace else ()), plural, name, sub]
    return "/" + "/".join(part for part in parts if part)


class KubeClient:
    """One session. ``login`` is asked again when the server says that the token is not good any more."""

    def __init__(self, login: Callable[[], Connection]) -> None:
        self._login = login
        self._connection: Connection | None = None
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Free the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def serves(self, kind: str) -> bool:
        """Whether the server knows this kind, or at least its group and version."""
        return await self._request("GET", f"/{RESOURCES[kind][0]}") is not None

    async def get(
        self, kind: str, namespace: str | None, name: str, *, metadata_only: bool = False
    ) -> dict[str, Any] | None:
        """An object, or None if there is none."""
        accept = METADATA_ONLY.format(kind="PartialObjectMetadata") if metadata_only else None
        return await self._request("GET", path_of(kind, namespace, name), accept=accept)

    async def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind as they are now, never from a cache that lags."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._request("GET", path_of(kind, namespace), query=query) or {}
            found += page.get("items", ())
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    async def apply(self, manifest: Manifest, sub: str = "") -> None:
        """Server-side apply as our field manager, taking over fields that others set."""
        meta = manifest["metadata"]
        await self._request(
            "PATCH",
            path_of(manifest["kind"], meta.get("namespace"), meta["name"], sub),
            query={"fieldManager": names.MANAGER, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    async def create(self, manifest: Manifest) -> None:
        """Create an object with a generated name."""
        path = path_of(manifest["kind"], manifest["metadata"].get("namespace"))
        await self._request("POST", path, body=manifest)

    async def delete(
        self, kind: str, namespace: str, name: str, grace_seconds: int | None = None
    ) -> None:
        """Delete in the background; no error if it is gone."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._request("DELETE", path_of(kind, namespace, name), body=options)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str | None = None,
    ) -> dict[str, Any] | None:
        headers = {"Content-Type": content_type, "Accept": accept or "application/json"}
        data = None if body is None else json.dumps(body)
        for retry in (True, False):
            session, connection = self._connected()
            url = connection.server.rstrip("/") + path
            headers |= connection.as_http_headers()
            try:
                async with session.request(
                    method, url, params=query, data=data, headers=headers
                ) as answer:
                    status, text = answer.status, await answer.text()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ClusterError(f"{method} {path}: {error or type(error).__name__}") from error
            if status == HTTPStatus.UNAUTHORIZED and retry:
                await self.close()
                continue
            return _understood(method, path, status, text)
        raise AssertionError("unreachable")

    def _connected(self) -> tuple[aiohttp.ClientSession, Connection]:
        if self._session is None or self._connection is None:
            self._connection = self._login()
            connector = aiohttp.TCPConnector(ssl=self._connection.as_ssl_context(), limit=32)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=TIMEOUT, headers={"User-Agent": names.MANAGER}
            )
        return self._session, self._connection


def _understood(method: str, path: str, status: int, text: str) -> dict[str, Any] | None:
    """The answer's body, None for "not found" where that is an answer, or the error it stands for."""
    if status < HTTPStatus.BAD_REQUEST:
        parsed: dict[str, Any] = json.loads(text)
        return parsed
    if status == HTTPStatus.NOT_FOUND and method in {"GET", "DELETE"}:
        return None
    message = _message(text)
    if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY}:
        raise Refusal(message)
    raise ClusterError(f"{method} {path}: {status}: {message}")


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
