"""A namespace of a real API server as a job sees it: nodes that nobody runs, and a hand that plays
scheduler and kubelet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from admin_client import AdminClient, Answer
from waiting import wait_for

JSON_PATCH: Final = "application/merge-patch+json"
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}

PATHS: Final = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "ResourceQuota": "/api/v1/namespaces/{namespace}/resourcequotas",
    "Event": "/apis/events.k8s.io/v1/namespaces/{namespace}/events",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "FineTuneJob": "/apis/haversack.dev/v1alpha1/namespaces/{namespace}/finetunejobs",
    "FineTunePlan": "/apis/haversack.dev/v1alpha1/namespaces/{namespace}/finetuneplans",
}


@dataclass(frozen=True)
class World:
    """One namespace, with nodes of its own."""

    client: AdminClient
    namespace: str

    def path(self, kind: str, name: str = "", sub: str = "") -> str:
        base = PATHS[kind].format(namespace=self.namespace)
        return "/".join(part for part in (base, name, sub) if part)

    def create(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _good(self.client.request("POST", self.path(kind), body))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        answer = self.client.request("GET", self.path(kind, name))
        return None if answer.code == 404 else _good(answer)

    def list(self, kind: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = _good(self.client.request("GET", self.path(kind)))["items"]
        return items

    def patch(self, kind: str, name: str, body: Mapping[str, Any], sub: str = "") -> Answer:
        return self.client.request("PATCH", self.path(kind, name, sub), body, JSON_PATCH)

    def delete(self, kind: str, name: str, grace_seconds: int = 0) -> None:
        options = {"gracePeriodSeconds": grace_seconds}
        self.client.request("DELETE", self.path(kind, name), options)

    def start(self, **labels: str) -> None:
        """Create the namespace."""
        meta = {"name": self.namespace, "labels": labels}
        self.create("Namespace", {"metadata": meta})

    def add_node(self, number: int) -> str:
        """A ready node that only this world's jobs select."""
        name = f"{self.namespace}-node-{number}"
        labels = {"world": self.namespace, "kubernetes.io/arch": "amd64"}
        self.create("Node", {"metadata": {"name": name, "labels": labels}})
        status = {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Played"}],
        }
        _good(self.patch("Node", name, {"status": status}, "status"))
        return name

    def add_job(self, name: str, manifest: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
        """Create a job on this world's nodes."""
        body = copy.deepcopy(dict(manifest))
        body["metadata"] = {"name": name, "namespace": self.namespace}
        body["spec"] |= spec
        for pool in body["spec"]["pools"]:
            pool["nodeSelector"] = {"world": self.namespace}
        return self.create("FineTuneJob", body)

    def pods(self, job: str, role: str = "peer") -> dict[str, dict[str, Any]]:
        """Pods of a job that are not about to go, by name."""
        return {
            pod["metadata"]["name"]: pod
            for pod in self.list("Pod")
            if pod["metadata"]["labels"].get("haversack.dev/job") == job
            and pod["metadata"]["labels"].get("haversack.dev/role") == role
            and "deletionTimestamp" not in pod["metadata"]
        }

    def wait_pods(self, job: str, *names: str) -> dict[str, dict[str, Any]]:
        """Wait until these are the job's peers, no more and no less."""
        wait_for(lambda: set(self.pods(job)) == set(names))
        return self.pods(job)

    def status(self, job: str) -> dict[str, Any]:
        """The job's status."""
        status: dict[str, Any] = (self.get("FineTuneJob", job) or {}).get("status", {})
        return status

    def condition(self, job: str, type: str) -> dict[str, Any]:
        entries = self.status(job).get("conditions", ())
        return next((entry for entry in entries if entry["type"] == type), {})

    def wait_condition(self, job: str, type: str, status: str, reason: str = "") -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            entry = self.condition(job, type)
            good = entry.get("status") == status and reason in ("", entry.get("reason"))
            return entry if good else None

        try:
            return wait_for(there)
        except AssertionError:
            body = self.get("FineTuneJob", job) or {}
            raise AssertionError(f"no {type}={status} {reason}: {body.get('status')}") from None

    def runs(self, pod: str, **container: Any) -> None:
        """Bind the pod where it wants to be, and let its container run and be ready."""
        body = self.get("Pod", pod) or {}
        affinity = body["spec"].get("affinity", {}).get("nodeAffinity", {})
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        node = (
            terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
            if terms
            else f"{self.namespace}-node-0"
        )
        if "nodeName" not in body["spec"]:
            binding = {"metadata": {"name": pod}, "target": {"kind": "Node", "name": node}}
            _good(self.client.request("POST", self.path("Pod", pod, "binding"), binding))
        self.tell(pod, "Running", ready=True, state={"running": {}}, **container)

    def reap(self) -> bool:
        """Let the pods that are told to go be gone, as kubelets would; true once all are."""
        leaving = [pod for pod in self.list("Pod") if "deletionTimestamp" in pod["metadata"]]
        for pod in leaving:
            self.delete("Pod", pod["metadata"]["name"])
        return not self.list("Pod")

    def ended(self, pod: str, exit_code: int, message: str = "", restarts: int = 0) -> None:
        """The container ended and is about to be restarted in place."""
        end = {"exitCode": exit_code, "reason": "Error", "message": message}
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        self.tell(
            pod,
            "Running",
            ready=False,
            state=waiting,
            lastState={"terminated": end},
            restartCount=restarts,
        )

    def tell(self, pod: str, phase: str, *, ready: bool, **container: Any) -> None:
        """What a kubelet would report."""
        state = {
            "name": "trainer",
            "image": "played",
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            **container,
        }
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        status = {"phase": phase, "conditions": [condition], "containerStatuses": [state]}
        _good(self.patch("Pod", pod, {"status": status}, "status"))


def _good(answer: Answer) -> dict[str, Any]:
    assert answer.code < 300, answer.message
    return answer.body
