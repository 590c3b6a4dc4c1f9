"""Names, labels and owner references of what the operator makes for a job."""

from __future__ import annotations

from typing import Any, Final

from haversack_operator.api import names

APP: Final = "haversack"


def hub_service(job: str) -> str:
    return f"{job}-hub"


def hub_name(job: str, namespace: str) -> str:
    """The name in the hub's certificate, and of its Service."""
    return f"{hub_service(job)}.{namespace}.svc"


def job_config_map(job: str) -> str:
    return f"{job}-job"


def tls_secret(job: str) -> str:
    return f"{job}-tls"


def plan(job: str, revision: int) -> str:
    return f"{job}-plan-{revision}"


def peer_pod(job: str, pool: str, ordinal: int, attempt: int) -> str:
    """No two jobs' peers want the same name: neither a job's name nor a pool's holds ``--``."""
    return f"{job}--{pool}-{ordinal}-{attempt}"


def hub_pod(job: str, attempt: int) -> str:
    return f"{job}-hub-{attempt}"


def labels(job: str, **more: str) -> dict[str, str]:
    """Labels of every object of a job; ``more`` goes under the usual and our own prefix."""
    return {
        "app.kubernetes.io/name": APP,
        "app.kubernetes.io/instance": job,
        "app.kubernetes.io/managed-by": names.MANAGER,
        names.LABEL_JOB: job,
        **more,
    }


def owner(job: str, uid: str) -> dict[str, Any]:
    """The job owns it: deleting the job deletes it, and does not wait for it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.JOB_KIND,
        "name": job,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def metadata(name: str, job: str, namespace: str, uid: str, **more: str) -> dict[str, Any]:
    """Metadata of an owned object."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": labels(job, **more),
        "ownerReferences": [owner(job, uid)],
    }
