"""Volumes of a pod: job file, its own key pair, scratch space, and the job's claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from haversack_operator.api import owned
from haversack_operator.snapshot import Job
from haversack_trainer.contract import environment as env

SCRATCH: Final = {"tmp": "/tmp", "work": env.WORK_MOUNT, "cache": env.CACHE_MOUNT}  # noqa: S108 - the container's own emptyDir
CLAIM_SCHEME: Final = "pvc://"


def claims_of(job: Job) -> tuple[str, ...]:
    """Names of the PersistentVolumeClaims that the job's addresses point into."""
    spec = job.spec
    uris = (spec.model.uri, spec.dataset.uri, spec.dataset.held_out.uri, spec.storage.uri)
    claims = {
        uri.removeprefix(CLAIM_SCHEME).partition("/")[0]
        for uri in uris
        if uri is not None and uri.startswith(CLAIM_SCHEME)
    }
    return tuple(sorted(claims))


def volumes_of(job: Job, certificate: str) -> list[dict[str, Any]]:
    """Volumes of a pod; of the job's Secret it sees its own pair and the authority, no other key."""
    items = [
        {"key": "ca.crt", "path": "ca.crt"},
        {"key": f"{certificate}.crt", "path": "tls.crt"},
        # Group read: the files belong to root and to the pod's fsGroup.
        {"key": f"{certificate}.key", "path": "tls.key", "mode": 0o440},
    ]
    return [
        {"name": "job", "configMap": {"name": owned.job_config_map(job.name)}},
        {"name": "tls", "secret": {"secretName": owned.tls_secret(job.name), "items": items}},
        *({"name": name, "emptyDir": {}} for name in SCRATCH),
        *(
            {"name": _claim_volume(number), "persistentVolumeClaim": {"claimName": claim}}
            for number, claim in enumerate(claims_of(job))
        ),
    ]


def mounts_of(claims: Iterable[str]) -> list[dict[str, Any]]:
    """Where the trainer looks for them."""
    return [
        {"name": "job", "mountPath": env.JOB_MOUNT, "readOnly": True},
        {"name": "tls", "mountPath": env.TLS_MOUNT, "readOnly": True},
        *({"name": name, "mountPath": path} for name, path in SCRATCH.items()),
        *(
            {"name": _claim_volume(number), "mountPath": f"{env.CLAIM_MOUNT}/{claim}"}
            for number, claim in enumerate(claims)
        ),
    ]


def _claim_volume(number: int) -> str:
    """Claim names may be longer than a volume's name."""
    return f"claim-{number}"
