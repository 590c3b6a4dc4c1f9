"""Inventories: both formats, this machine, and one sentence for each that cannot be used."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from haversack_operator.cluster.inventory import InventoryError, read_nodes, this_machine
from haversack_operator.snapshot import Amounts, Node, Taint

ROOT = Path(__file__).parents[3]
GIB = 2**30
SHORT = """
nodes:
- name: orin
  architecture: arm64
  cpu: 6
  memory: 16Gi
  zone: office
  accelerator: {count: 1, memory: 15Gi, unified: true}
  labels: {site: hall-2}
  taints: [{key: edge, effect: NoSchedule}]
  used: {cpu: 500m, memory: 1Gi, devices: 1}
"""
A_NODE = {
    "kind": "Node",
    "metadata": {"name": "gpu-1", "labels": {"kubernetes.io/arch": "amd64"}},
    "spec": {"unschedulable": True, "taints": [{"key": "gpu", "effect": "NoSchedule"}]},
    "status": {
        "allocatable": {"cpu": "7910m", "memory": "32781924Ki", "nvidia.com/gpu": "4"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def a_file(folder: Path, text: str) -> Path:
    path = folder / "nodes.yaml"
    path.write_text(text)
    return path


def test_the_short_format(tmp_path: Path) -> None:
    assert read_nodes(a_file(tmp_path, SHORT)) == (
        Node(
            name="orin",
            labels={
                "kubernetes.io/arch": "arm64",
                "kubernetes.io/hostname": "orin",
                "topology.kubernetes.io/zone": "office",
                "haversack.dev/accelerator-memory": "15Gi",
                "haversack.dev/unified-memory": "true",
                "site": "hall-2",
            },
            allocatable=Amounts(6000, 16 * GIB, {"nvidia.com/gpu": 1}),
            taints=(Taint("edge", "NoSchedule"),),
            used=Amounts(500, GIB, {"nvidia.com/gpu": 1}),
        ),
    )


@pytest.mark.parametrize(
    "document",
    [A_NODE, {"kind": "List", "items": [A_NODE]}, {"kind": "NodeList", "items": [A_NODE]}],
    ids=["one node", "kubectl -o yaml", "raw API"],
)
def test_what_kubectl_prints(tmp_path: Path, document: object) -> None:
    nodes = read_nodes(a_file(tmp_path, json.dumps(document)))
    assert nodes == (
        Node(
            name="gpu-1",
            labels={"kubernetes.io/arch": "amd64"},
            allocatable=Amounts(7910, 32781924 * 1024, {"nvidia.com/gpu": 4}),
            taints=(Taint("gpu", "NoSchedule"),),
            unschedulable=True,
        ),
    )


def short(**changes: object) -> str:
    return yaml.safe_dump({"nodes": [{"name": "a", "cpu": 1, "memory": "1Gi", **changes}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 documents; one is wanted"),
        ("nodes: []\n---\nnodes: []\n", "has 2 documents; one is wanted"),
        ("nodes: [", "is not YAML: "),
        ("- a\n", "must be an object with the list 'nodes', or a list from kubectl"),
        ("nodes: []\n", "nodes: must have at least 1 entries"),
        (short(memory=0), "nodes[0].memory: must be more than 0, is 0"),
        (short(cpu="0m"), "nodes[0].cpu: must be more than 0, is 0m"),
        (
            short(memory="16 GB"),
            "nodes[0].memory: '16 GB' is not a quantity; write for example 500m, 2 or 8Gi",
        ),
        (short(memroy="1Gi"), "nodes[0].memroy: there is no such field; did you mean memory?"),
        (short(architecture="riscv64"), "nodes[0].architecture: must be 'amd64' or 'arm64'"),
        (short(used={"devices": 1}), "nodes[0].used.devices: the node has no accelerator"),
        (
            yaml.safe_dump({"nodes": [{"name": "a", "cpu": 1, "memory": "1Gi"} for _ in "ab"]}),
            "there are two nodes named a; give each its own name",
        ),
        ("kind: FineTuneJob\n", "is a 'FineTuneJob'; write the output of kubectl get nodes"),
        ("kind: List\nitems: []\n", "items: must be a list of nodes, with at least one"),
        ("kind: List\nitems: [{kind: Pod}]\n", "items[0] is not a Node"),
        ("kind: List\nitems: [{}]\n", "items[0] is not a whole Node: KeyError('metadata')"),
        (
            "kind: Node\nmetadata: {name: n}\n",
            "this.status.allocatable: cpu and memory must be more than 0",
        ),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = a_file(tmp_path, text)
    with pytest.raises(InventoryError) as refused:
        read_nodes(path)
    assert re.split(": | ", str(refused.value), maxsplit=1)[0] == str(path)
    assert said in str(refused.value)


def test_a_missing_and_a_binary_file(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="No such file or directory; name a file with nodes"):
        read_nodes(tmp_path / "none.yaml")
    (tmp_path / "nodes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InventoryError, match="is not YAML"):
        read_nodes(tmp_path / "nodes.yaml")


def test_the_example_is_read() -> None:
    assert len(read_nodes(ROOT / "examples/nodes.yaml")) == 4


def test_this_machine_s_devices_come_from_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '81559\\n24576\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    node = this_machine()
    assert node.allocatable.devices == {"nvidia.com/gpu": 2}
    assert node.labels["haversack.dev/accelerator-memory"] == str(24576 * 2**20)
    assert node.labels["kubernetes.io/arch"] in {"amd64", "arm64"}
    assert node.allocatable.cpu_millis >= 1000


def test_a_driver_that_fails_means_no_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert this_machine().allocatable.devices == {}
