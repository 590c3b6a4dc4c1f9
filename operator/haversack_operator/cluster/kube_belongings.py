"""What a job owns besides pods. It changes by our own hand only, so it is not read on every pass."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from haversack_operator.api import names, owned
from haversack_operator.snapshot import Invalid, Job, PlanView

from . import certificates
from .api import Api
from .base import ClusterError, Key, Manifest
from .kube_jobs import plan_from

FRESH: Final = timedelta(minutes=5)
"""So long may it take until something that a person deleted is noticed and made again."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """One look at them."""

    job_uid: str
    seen: datetime
    existing: frozenset[tuple[str, str]]
    plan: PlanView | None
    tls: Mapping[str, bytes] = field(repr=False)
    missing_secrets: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    """Objects with our names and another owner."""


class Shelf:
    """The newest look at every job's belongings; ``forget`` after each write."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._looks: dict[Key, Belongings] = {}

    async def look(self, key: Key, job: Job, now: datetime) -> Belongings:
        """What is there: as remembered if that is fresh and nothing is wanting, else read now."""
        known = self._looks.get(key)
        if (
            known is None
            or known.job_uid != job.uid
            or now - known.seen > FRESH
            or known.missing_secrets
            or known.leftovers
        ):
            known = self._looks[key] = await self._read(key, job, now)
        return known

    def forget(self, key: Key) -> None:
        """Read it anew next time."""
        self._looks.pop(key, None)

    def tls(self, key: Key) -> Mapping[str, bytes]:
        """The job's certificates. Raises ``ClusterError`` if they were not looked at."""
        if key not in self._looks:
            raise ClusterError(f"{key.name}: its certificates are being written")
        return self._looks[key].tls

    async def _read(self, key: Key, job: Job, now: datetime) -> Belongings:
        wanted = [
            ("Service", owned.hub_service(key.name)),
            ("ConfigMap", owned.job_config_map(key.name)),
            ("NetworkPolicy", key.name),
        ]
        looks = [
            self._api.get(kind, key.namespace, name, metadata_only=True) for kind, name in wanted
        ]
        secret = self._api.get("Secret", key.namespace, owned.tls_secret(key.name))
        plans = self._api.list(names.PLAN_KIND, key.namespace, f"{names.LABEL_JOB}={key.name}")
        found, tls, planned, missing = await asyncio.gather(
            asyncio.gather(*looks), secret, plans, self._missing(key, job)
        )
        there = [one for one, body in zip(wanted, found, strict=True) if is_of(body, job)]
        views = [plan_from(body) for body in planned if is_of(body, job)]
        newest = max((view for view in views if view), key=lambda view: view.revision, default=None)
        data = unpack(tls) if is_of(tls, job) else {}
        return Belongings(
            job_uid=job.uid,
            seen=now,
            existing=frozenset(there),
            plan=newest,
            tls=data,
            missing_secrets=missing,
            leftovers=tuple(
                f"{body['kind']} {body['metadata']['name']}"
                for body in (*found, tls, *planned)
                if body is not None and not is_of(body, job)
            ),
        )

    async def _missing(self, key: Key, job: Job) -> tuple[str, ...]:
        reference = job.spec.storage.s3.secret_ref
        if reference is None:
            return ()
        found = await self._api.get("Secret", key.namespace, reference.name, metadata_only=True)
        return () if found is not None else (reference.name,)


def unpack(secret: Mapping[str, Any] | None) -> dict[str, bytes]:
    """A Secret's data."""
    data = (secret or {}).get("data") or {}
    return {name: base64.b64decode(value) for name, value in data.items()}


def pack(job: Job | Invalid, present: Mapping[str, Any] | None, wanted: frozenset[str]) -> Manifest:
    """The job's TLS Secret with the wanted pairs added; bound to the version that was read."""
    data = certificates.complete(
        unpack(present) if is_of(present, job) else {},
        wanted,
        run=f"{job.namespace}.{job.name}.{job.uid[:8]}",
        hub_name=owned.hub_name(job.name, job.namespace),
        now=datetime.now(UTC),
    )
    meta = owned.metadata(owned.tls_secret(job.name), job.name, job.namespace, job.uid)
    if present is not None:
        meta["resourceVersion"] = present["metadata"]["resourceVersion"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "type": "Opaque",
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def is_of(body: Mapping[str, Any] | None, job: Job | Invalid) -> bool:
    """Whether an object is this very job's, and not one of the same name that is about to go."""
    owners = (body or {}).get("metadata", {}).get("ownerReferences", ())
    return any(owner.get("uid") == job.uid for owner in owners)
