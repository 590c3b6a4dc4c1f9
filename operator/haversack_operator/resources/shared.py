"""What all pods of a job share: the job file, the hub's name, isolation, and the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from haversack_operator.api import names, owned
from haversack_operator.api.parse import method_choice
from haversack_operator.api.plan import PlannedPeer, PlanSpec
from haversack_operator.cluster.base import Manifest
from haversack_operator.snapshot import Job, PlanView, Role
from haversack_trainer.contract.environment import GROUP_PORTS, HUB_PORT
from haversack_trainer.contract.jobfile import JobFile

JOB_FILE_KEY: Final = "job.json"
OPERATOR_LABELS: Final = {"app.kubernetes.io/name": "haversack-operator"}
"""Labels of the operator's own pod, as the chart gives them."""


def job_file(job: Job) -> JobFile:
    """What all peers of the run are told."""
    spec = job.spec
    return JobFile(
        run=job.run,
        job=job.name,
        model=spec.model,
        dataset=spec.dataset,
        adapter=spec.adapter,
        method=method_choice(spec, job.method_reason),
        training=spec.training,
        network=spec.network,
        storage=spec.storage,
        checkpoint=spec.checkpoint,
        evaluation=spec.evaluation,
        num_peers=sum(pool.peers.replicas for pool in spec.pools),
        min_peers=spec.placement.min_peers,
        heartbeat_timeout_seconds=spec.elasticity.heartbeat_timeout_seconds,
        report_period_seconds=spec.reporting.period_seconds,
    )


def shared_objects(job: Job) -> Iterator[Manifest]:
    """ConfigMap, Service and, if wanted, NetworkPolicy."""
    yield _config_map(job)
    yield _service(job)
    if job.spec.network_policy.enabled:
        yield _network_policy(job)


def plan_object(job: Job, plan: PlanView) -> Manifest:
    """The plan as a ``FineTunePlan``."""
    spec = PlanSpec(
        revision=plan.revision,
        gap_percent=plan.gap_percent,
        peers=[
            PlannedPeer(
                peer=row.peer, pool=row.pool, node=row.node, micro_batch_size=row.micro_batch_size
            )
            for row in plan.assignments
        ],
        reasons=[reason[:4096] for reason in plan.reasons[:32]],
        avoided_nodes=sorted(plan.avoided)[:1024],
    )
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.PLAN_KIND,
        "metadata": owned.metadata(plan.name, job.name, job.namespace, job.uid),
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _config_map(job: Job) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned.metadata(
            owned.job_config_map(job.name), job.name, job.namespace, job.uid
        ),
        "data": {
            JOB_FILE_KEY: job_file(job).model_dump_json(by_alias=True, exclude_none=True, indent=1)
        },
    }


def _service(job: Job) -> Manifest:
    """Headless: peers reach the hub's pod directly, also while it is not known to be ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned.metadata(owned.hub_service(job.name), job.name, job.namespace, job.uid),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.LABEL_JOB: job.name, names.LABEL_ROLE: Role.HUB.value},
            "ports": [{"name": "log", "port": HUB_PORT, "targetPort": "log", "protocol": "TCP"}],
        },
    }


def _network_policy(job: Job) -> Manifest:
    """Only the job's own pods and the operator reach its pods, and only the run log's port; where blobs go from
    pod to pod, peers reach peers, too."""
    own: dict[str, Any] = {"podSelector": {"matchLabels": {names.LABEL_JOB: job.name}}}
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": OPERATOR_LABELS}}
    ingress = [{"from": [own, operator], "ports": [{"port": "log", "protocol": "TCP"}]}]
    if job.spec.network.is_direct:
        first, last = GROUP_PORTS
        ports = [{"port": first, "endPort": last, "protocol": "TCP"}]
        ingress.append({"from": [own], "ports": ports})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned.metadata(job.name, job.name, job.namespace, job.uid),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_JOB: job.name}},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        },
    }
