"""Pods of peers and hub. They pass Pod Security ``restricted`` and carry no API token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from haversack_operator.api import names, owned
from haversack_operator.api.job import Pool, Toleration
from haversack_operator.api.processes import num_processes, sharding
from haversack_operator.cluster.base import Manifest
from haversack_operator.cluster.certificates import HUB, peer_name
from haversack_operator.placement.demand import HUB_REQUESTS, hub_tolerations
from haversack_operator.snapshot import Assignment, Job, Role
from haversack_trainer.contract import environment as env

from .shared import JOB_FILE_KEY
from .volumes import claims_of, mounts_of, volumes_of

USER: Final = 65532
GRACE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the operator's administrator decides for all pods."""

    trainer_image: str


def peer_pod(job: Job, place: Assignment, attempt: int, settings: PodSettings) -> Manifest:
    """The pod of one peer. kube-scheduler still binds it, but to the planned node or nowhere."""
    pool = next(pool for pool in job.spec.pools if pool.name == place.pool)
    meta = owned.metadata(
        owned.peer_pod(job.name, pool.name, place.peer, attempt),
        job.name,
        job.namespace,
        job.uid,
        **_labels(Role.PEER, attempt),
        **{names.LABEL_POOL: pool.name, names.LABEL_PEER: str(place.peer)},
    )
    meta["annotations"] = {names.ANNOTATION_MICRO_BATCH: str(place.micro_batch_size)}
    variables = {
        env.PEER: str(place.peer),
        env.ATTEMPT: str(attempt),
        env.MICRO_BATCH_SIZE: str(place.micro_batch_size),
        env.HUB_URL: f"https://{owned.hub_name(job.name, job.namespace)}:{env.HUB_PORT}",
        **_process_variables(job, pool),
    }
    container = _container(
        job, "peer", pool.image or job.spec.runtime.image or settings.trainer_image, variables
    )
    container["env"].append(_field_variable(env.NODE, "spec.nodeName"))
    container["resources"] = _peer_resources(pool)
    if job.spec.network.is_direct:
        container["env"].append(_field_variable(env.ADDRESS, "status.podIP"))
    spec = _pod_spec(job, container, peer_name(place.peer), tuple(pool.tolerations))
    spec["affinity"] = _pinned_to(place.node)
    if job.spec.network.is_direct:
        first, last = env.GROUP_PORTS
        ports = {"name": "net.ipv4.ip_local_port_range", "value": f"{first} {last}"}
        spec["securityContext"]["sysctls"] = [ports]
    if env.PROCESSES in variables:
        # The runtime's own is 64 MiB, too little for NCCL.
        spec["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory"}})
        container["volumeMounts"].append({"name": "shm", "mountPath": env.SHARED_MEMORY_MOUNT})
    if pool.node_selector:
        spec["nodeSelector"] = dict(pool.node_selector)
    if pool.runtime_class_name is not None:
        spec["runtimeClassName"] = pool.runtime_class_name
    return _pod(meta, spec)


def hub_pod(
    job: Job,
    attempt: int,
    settings: PodSettings,
    node: str | None = None,
    *,
    awaits_log: bool = False,
) -> Manifest:
    """The run log's pod. It may run wherever any peer may, and best where room is kept for it.

    ``awaits_log``: peers run that hold the log of a hub before this one.
    """
    name = owned.hub_pod(job.name, attempt)
    meta = owned.metadata(name, job.name, job.namespace, job.uid, **_labels(Role.HUB, attempt))
    variables = {
        env.LISTEN: f"$(POD_IP):{env.HUB_PORT}",
        **({env.AWAIT_LOG: "1"} if awaits_log else {}),
    }
    image = job.spec.runtime.image or settings.trainer_image
    container = _container(job, "hub", image, variables)
    # A variable is expanded from those before it.
    container["env"].insert(0, _field_variable("POD_IP", "status.podIP"))
    container["ports"] = [{"name": "log", "containerPort": env.HUB_PORT, "protocol": "TCP"}]
    container["readinessProbe"] = {
        "tcpSocket": {"port": "log"},
        "periodSeconds": 2,
        "failureThreshold": 3,
    }
    container["resources"] = {
        "requests": dict(HUB_REQUESTS),
        "limits": {"memory": HUB_REQUESTS["memory"]},
    }
    spec = _pod_spec(job, container, HUB, hub_tolerations(job.spec))
    if node is not None:
        spec["affinity"] = _drawn_to(node)
    return _pod(meta, spec)


def _process_variables(job: Job, pool: Pool) -> dict[str, str]:
    """For a pod whose processes share its model out."""
    if sharding(job.spec) is None:
        return {}
    return {
        env.PROCESSES: str(num_processes(job.spec, pool)),
        env.EXTENSIONS: f"{env.WORK_MOUNT}/extensions",
        env.INTERFACE: "lo",
    }


def _labels(role: Role, attempt: int) -> dict[str, str]:
    return {
        "app.kubernetes.io/component": role.value,
        names.LABEL_ROLE: role.value,
        names.LABEL_ATTEMPT: str(attempt),
    }


def _pod(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _pod_spec(
    job: Job,
    container: Mapping[str, Any],
    certificate: str,
    tolerations: tuple[Toleration, ...],
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes_of(job, certificate),
    }
    runtime = job.spec.runtime
    if tolerations:
        spec["tolerations"] = [
            toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
            for toleration in tolerations
        ]
    if runtime.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in runtime.image_pull_secrets]
    if runtime.service_account_name is not None:
        spec["serviceAccountName"] = runtime.service_account_name
    if job.spec.priority_class_name is not None:
        spec["priorityClassName"] = job.spec.priority_class_name
    return spec


def _container(job: Job, role: str, image: str, variables: Mapping[str, str]) -> dict[str, Any]:
    common = {
        env.JOB_FILE: f"{env.JOB_MOUNT}/{JOB_FILE_KEY}",
        env.HUB_NAME: owned.hub_name(job.name, job.namespace),
        env.TLS_DIR: env.TLS_MOUNT,
        env.WORK_DIR: env.WORK_MOUNT,
        env.CACHE_DIR: env.CACHE_MOUNT,
    }
    container: dict[str, Any] = {
        "name": "trainer",
        "image": image,
        "command": ["haversack-trainer", role],
        "env": [{"name": key, "value": value} for key, value in {**common, **variables}.items()],
        "volumeMounts": mounts_of(claims_of(job)),
        # The last line of a process that failed becomes the condition's message.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    secret = job.spec.storage.s3.secret_ref
    if secret is not None and role == "peer":
        container["envFrom"] = [{"secretRef": {"name": secret.name}}]
    return container


def _field_variable(name: str, field: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}


def _peer_resources(pool: Pool) -> dict[str, Any]:
    devices = (
        {pool.accelerator.resource_name: str(pool.accelerator.count)} if pool.accelerator else {}
    )
    memory = pool.resources.memory
    return {
        "requests": {"cpu": pool.resources.cpu, "memory": memory, **devices},
        "limits": {"memory": memory, **devices},
    }


def _named(node: str) -> dict[str, Any]:
    """By the node's name and not its hostname label, which need not be the same."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"matchFields": [field]}


def _pinned_to(node: str) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [_named(node)]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _drawn_to(node: str) -> dict[str, Any]:
    preferred = [{"weight": 100, "preference": _named(node)}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
