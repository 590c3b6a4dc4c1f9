"""What a job costs the operator: CPU time, and requests to the API server by its own audit log.

Two loads on a real API server, with nodes and kubelets played by this script: jobs of 4 peers from
creation to ready, and 1,000 suspended jobs, first taken in and then left alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench.figures import write
from control_plane import ControlPlane
from operator_process import OperatorProcess, operating
from operator_world import World

JOBS: Final = 20
PEERS: Final = 4
IDLE_JOBS: Final = 1000
IDLE_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 600.0
WRITES: Final = frozenset({"create", "update", "patch", "delete"})
JOB: Final[dict[str, Any]] = {
    "apiVersion": "haversack.dev/v1alpha1",
    "kind": "FineTuneJob",
    "spec": {
        "model": {"uri": "hf://owner/name", "task": "SequenceClassification"},
        "dataset": {"uri": "s3://corpus/support"},
        "method": {"type": "DecLoRA"},
        "pools": [
            {
                "name": "cpu",
                "peers": {"replicas": PEERS},
                "resources": {"cpu": "100m", "memory": "64Mi"},
            }
        ],
        "placement": {"minPeers": PEERS},
        "storage": {"uri": "s3://bucket/runs"},
    },
}


@dataclass
class Meter:
    """CPU time and requests since it was made."""

    operator: OperatorProcess
    audit: Path

    def __post_init__(self) -> None:
        self._cpu = self.operator.cpu_seconds()
        self._lines = len(self.audit.read_text().splitlines())

    def cpu_seconds(self) -> float:
        return self.operator.cpu_seconds() - self._cpu

    def requests(self) -> Counter[str]:
        """By verb and resource."""
        lines = self.audit.read_text().splitlines()[self._lines :]
        entries = (json.loads(line) for line in lines)
        return Counter(
            f"{one['verb']} {_resource(one['objectRef'])}"
            for one in entries
            if one.get("userAgent", "").startswith("haversack-operator") and "objectRef" in one
        )


def _resource(reference: dict[str, str]) -> str:
    sub = reference.get("subresource")
    return f"{reference['resource']}/{sub}" if sub else reference["resource"]


def _writes(requests: Counter[str]) -> int:
    return sum(count for what, count in requests.items() if what.split()[0] in WRITES)


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the operator did not get there")
        time.sleep(0.5)


def _run_jobs(world: World) -> None:
    """Create jobs and play their kubelets until all are ready."""
    for number in range(JOBS):
        world.add_job(f"job-{number}", JOB)
    _until(lambda: len(world.list("Pod")) == JOBS * (PEERS + 1))
    for pod in world.list("Pod"):
        world.runs(pod["metadata"]["name"])
    _until(lambda: all(_ready(job) for job in world.list("FineTuneJob")))


def _ready(job: dict[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    summary = job.get("status", {}).get("peersSummary")
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and summary == f"{PEERS}/{PEERS}"


def _take_in_idle(world: World) -> None:
    for number in range(IDLE_JOBS):
        world.add_job(f"idle-{number}", JOB, suspend=True)
    _until(lambda: all(_observed(job) for job in world.list("FineTuneJob")))


def _observed(job: dict[str, Any]) -> bool:
    return bool(job["status"]["observedGeneration"] == job["metadata"]["generation"])


def _world(plane: ControlPlane, name: str) -> World:
    world = World(plane, name)
    world.start()
    for number in range(4):
        world.add_node(number)
    return world


def measure(folder: Path) -> dict[str, Any]:
    """All figures."""
    with ControlPlane(folder, audit=True) as plane:
        for path in sorted((Path(__file__).parents[1] / "crds").glob("*.yaml")):
            plane.apply(path.read_text())
        with operating(plane.kubeconfig(), folder / "operator.log") as operator:
            started = operator.cpu_seconds()
            meter = Meter(operator, plane.audit_log)
            _run_jobs(_world(plane, "busy"))
            busy, busy_cpu = meter.requests(), meter.cpu_seconds()
            for number in range(JOBS):
                World(plane, "busy").delete("FineTuneJob", f"job-{number}")
            meter = Meter(operator, plane.audit_log)
            _take_in_idle(_world(plane, "idle"))
            taken, taken_cpu = meter.requests(), meter.cpu_seconds()
            meter = Meter(operator, plane.audit_log)
            time.sleep(IDLE_SECONDS)
            idle, idle_cpu = meter.requests(), meter.cpu_seconds()
    return {
        "cpu_seconds_to_start": round(started, 2),
        f"per_{PEERS}_peer_job": {
            "jobs": JOBS,
            "cpu_seconds": round(busy_cpu / JOBS, 4),
            "api_writes": round(_writes(busy) / JOBS, 2),
            "api_reads": round((busy.total() - _writes(busy)) / JOBS, 2),
            "requests": dict(sorted(busy.items())),
        },
        "taking_in_idle_jobs": {
            "jobs": IDLE_JOBS,
            "cpu_milliseconds_each": round(1000 * taken_cpu / IDLE_JOBS, 2),
            "api_writes_each": round(_writes(taken) / IDLE_JOBS, 3),
        },
        f"with_{IDLE_JOBS}_idle_jobs": {
            "seconds": IDLE_SECONDS,
            "cpu_percent_of_a_core": round(100 * idle_cpu / IDLE_SECONDS, 2),
            "api_writes": _writes(idle),
            "api_reads": idle.total() - _writes(idle),
        },
    }


def main() -> None:
    """Measure once; CPU time and requests hardly differ from run to run."""
    with tempfile.TemporaryDirectory() as folder:
        write("operator_load", measure(Path(folder)))


if __name__ == "__main__":
    main()
