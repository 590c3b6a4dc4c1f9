"""Every example is a job that parses, finds its place and becomes pods."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from examples.demo import setting

from haversack_operator.cli import jobfile
from haversack_operator.cluster.inventory import read_nodes
from haversack_operator.cluster.kube_jobs import job_from
from haversack_operator.cluster.kube_objects import planned_node
from haversack_operator.reconcile import decide
from haversack_operator.resources import PodSettings
from haversack_operator.snapshot import Job, Node, Snapshot
from haversack_trainer.contract.jobfile import JobFile

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOBS = sorted(path for path in EXAMPLES.glob("*.yaml") if path.name != "nodes.yaml")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in for the Secret that the examples name."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")


def pods_of(path: Path, nodes: tuple[Node, ...], folder: Path) -> list[Any]:
    """What the first pass makes of a job's file on these nodes."""
    body = jobfile.read(path, folder).job
    meta = {"namespace": "default", "uid": "0123456789", "generation": 1, **body["metadata"]}
    job = job_from({**body, "metadata": meta})
    assert isinstance(job, Job)
    names = {"ca", "hub", "operator", *(f"peer-{n}" for n in range(8))}
    snapshot = Snapshot(job, NOW, nodes=nodes, key_pairs=frozenset(names))
    actions = decide(snapshot, PodSettings("trainer:1")).actions
    (config,) = (one for one in actions.apply if one["kind"] == "ConfigMap")
    JobFile.model_validate_json(config["data"]["job.json"])
    return [one for one in actions.apply if one["kind"] == "Pod"]


def is_pinned(pod: Any, node: str) -> bool:
    return "affinity" in pod["spec"] and planned_node(pod["spec"]) == node


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_an_example_parses_places_and_renders(path: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    wanted = sum(pool["peers"]["replicas"] for pool in document["spec"]["pools"])
    nodes = read_nodes(EXAMPLES / "nodes.yaml")
    pods = pods_of(path, nodes, tmp_path)
    peers = [pod for pod in pods if pod["metadata"]["labels"]["haversack.dev/role"] == "peer"]
    assert len(peers) == wanted
    assert len(pods) == wanted + 1


@pytest.mark.parametrize("method", setting.RECIPES)
def test_the_demo_loses_one_peer_with_its_node_and_has_another_place_for_it(
    method: str, tmp_path: Path
) -> None:
    job, inventory = setting.write(method, tmp_path, tmp_path / "data.jsonl", tmp_path / "store")
    nodes = read_nodes(inventory)
    on_it = [pod for pod in pods_of(job, nodes, tmp_path) if is_pinned(pod, setting.UNPLUGGED)]
    assert len(on_it) == 1
    left = tuple(node for node in nodes if node.name != setting.UNPLUGGED)
    assert len(pods_of(job, left, tmp_path)) == 5
