"""What the end-to-end tests do: upload model and data, apply an example, pull plugs, look into the store."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml
from admin_client import AdminClient
from node_agent import NodeAgent, PlayedNode
from s3server import S3Server

EXAMPLES: Final = Path(__file__).parents[1] / "examples"
JOBS: Final = "/apis/haversack.dev/v1alpha1/namespaces/{}/finetunejobs"
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
MERGE: Final = "application/merge-patch+json"
SECRET: Final = "s3-credentials"
GPU: Final = {"nvidia.com/gpu": "1"}
GPU_MEMORY: Final = {"haversack.dev/accelerator-memory": "16Gi"}
JETSON: Final = {"haversack.dev/unified-memory": "true"}
EDGE: Final = {"key": "edge", "effect": "NoSchedule"}
NODES: Final = (
    PlayedNode("gpu-0", labels=GPU_MEMORY, devices=GPU),
    PlayedNode("gpu-1", labels=GPU_MEMORY, devices=GPU),
    PlayedNode("gpu-2", labels=GPU_MEMORY, devices=GPU),
    PlayedNode("arm-0", architecture="arm64"),
    PlayedNode("jetson-0", architecture="arm64", labels=JETSON, devices=GPU, taints=(EDGE,)),
)


@dataclass(frozen=True)
class E2eWorld:
    """Everything that runs."""

    client: AdminClient
    s3: S3Server
    agent: NodeAgent

    def namespace(self, name: str) -> None:
        """A namespace that enforces Pod Security ``restricted``, with the S3 Secret."""
        self._post("/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
        secret = {"metadata": {"name": SECRET}, "stringData": self.s3.environ}
        self._post(f"/api/v1/namespaces/{name}/secrets", secret)

    def bucket(self, name: str) -> str:
        """An empty bucket, made if need be."""
        present = {bucket["Name"] for bucket in self.bucket_client.list_buckets()["Buckets"]}
        if name not in present:
            self.bucket_client.create_bucket(Bucket=name)
        return name

    @cached_property
    def bucket_client(self) -> Any:
        return self.s3.client()

    def upload(self, folder: Path, uri: str) -> None:
        """All files of a folder, below ``s3://bucket/prefix``."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        self.bucket(bucket)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder)}".lstrip("/")
                self.bucket_client.upload_file(str(path), bucket, key)

    def keys(self, uri: str) -> list[str]:
        """Keys below ``s3://bucket/prefix``."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        listed = self.bucket_client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", ())]

    def download(self, uri: str, folder: Path) -> Path:
        """The folder behind ``s3://bucket/prefix``."""
        bucket = uri.removeprefix("s3://").partition("/")[0]
        folder.mkdir(parents=True)
        for key in self.keys(uri):
            self.bucket_client.download_file(bucket, key, str(folder / Path(key).name))
        return folder

    def example(self, file: str, **spec: Mapping[str, Any]) -> dict[str, Any]:
        """An example as committed, but for this world's S3 server and what ``spec`` overrides."""
        body: dict[str, Any] = yaml.safe_load((EXAMPLES / file).read_text())
        changes = {**spec, "storage": {"s3": {"endpoint": self.s3.endpoint}}}
        merged: dict[str, Any] = _merged(body, {"spec": changes})
        return merged

    def apply(self, namespace: str, job: Mapping[str, Any]) -> None:
        """``kubectl apply``."""
        self.client.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(job))

    def patch(self, namespace: str, job: str, spec: Mapping[str, Any]) -> None:
        answer = self.client.request("PATCH", self._path(namespace, job), {"spec": spec}, MERGE)
        assert answer.code < 300, answer.message

    def status(self, namespace: str, job: str) -> dict[str, Any]:
        answer = self.client.request("GET", self._path(namespace, job))
        status: dict[str, Any] = answer.body.get("status", {})
        return status

    def pods(self, namespace: str, job: str) -> dict[str, dict[str, Any]]:
        """Pods of a job by name."""
        selector = f"labelSelector=haversack.dev%2Fjob%3D{job}"
        answer = self.client.request("GET", f"/api/v1/namespaces/{namespace}/pods?{selector}")
        return {pod["metadata"]["name"]: pod for pod in answer.body["items"]}

    def wait(
        self,
        namespace: str,
        job: str,
        holds: Callable[[dict[str, Any]], bool],
        seconds: float = 300.0,
    ) -> dict[str, Any]:
        """The job's status once ``holds`` is true of it; fails with everybody's last words."""
        deadline = time.monotonic() + seconds
        while not holds(status := self.status(namespace, job)):
            over = condition(status, "Failed") == "True" or time.monotonic() > deadline
            assert not over, self._last_words(namespace, job, status)
            time.sleep(0.5)
        return status

    def wait_round(self, namespace: str, job: str, round: int) -> None:
        """Until so many rounds have closed."""
        self.wait(
            namespace, job, lambda status: status.get("progress", {}).get("round", 0) >= round
        )

    def scores(self, model: Path, adapter: Path, rows: Path) -> dict[str, float]:
        """Held-out loss without and with the adapter, by peft in a process of its own."""
        script = Path(__file__).with_name("adapter_score.py")
        command = [sys.executable, str(script), str(model), str(adapter), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        scores: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return scores

    def _last_words(self, namespace: str, job: str, status: Mapping[str, Any]) -> str:
        logs = [self.agent.log_of(pod)[-1500:] for pod in self.pods(namespace, job)]
        return "\n".join([json.dumps(status, indent=1), *logs])

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        answer = self.client.request("POST", path, body)
        assert answer.code < 300, answer.message

    def _path(self, namespace: str, job: str) -> str:
        return f"{JOBS.format(namespace)}/{job}"


def condition(status: Mapping[str, Any], type: str) -> str | None:
    """True, False, Unknown, or None where it is not there."""
    entries = {entry["type"]: entry["status"] for entry in status.get("conditions", ())}
    return entries.get(type)


def reason(status: Mapping[str, Any], type: str) -> str | None:
    """The condition's reason."""
    entries = {entry["type"]: entry["reason"] for entry in status.get("conditions", ())}
    return entries.get(type)


def _merged(body: Any, changes: Any) -> Any:
    """RFC 7386, but for null."""
    if not isinstance(body, Mapping) or not isinstance(changes, Mapping):
        return copy.deepcopy(changes)
    merged = {**body}
    for name, value in changes.items():
        merged[name] = _merged(body.get(name, {}), value)
    return merged
