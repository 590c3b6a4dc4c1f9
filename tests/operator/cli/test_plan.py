"""``haversack plan``: the table, the same as data, exit codes, and bad input in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from haversack_operator.cli.main import main

ROOT = Path(__file__).parents[3]
NODES = str(ROOT / "examples/nodes.yaml")
JOB = """
apiVersion: haversack.dev/v1alpha1
kind: FineTuneJob
metadata: {name: support}
spec:
  model:
    uri: file:///models/qwen
    task: SequenceClassification
    footprint: {parameters: 1500000000, hiddenSize: 1536, numLayers: 28}
  dataset: {uri: file:///data/support.jsonl, maxLength: 512}
  method: {type: DecLoRA}
  pools:
  - name: gpu
    architecture: amd64
    peers: {replicas: 2}
    accelerator: {memory: 20Gi}
    resources: {cpu: "4", memory: 16Gi}
  - name: edge
    architecture: arm64
    peers: {replicas: 2}
    accelerator: {memory: 6Gi}
    resources: {cpu: "2", memory: 10Gi}
    tolerations: [{key: edge, operator: Exists}]
  placement: {minPeers: MINIMUM}
  storage: {uri: file:///store}
"""
REASON = (
    "pool edge: 1 of 2 peers placed: 1 of 4 nodes fits and is full; 2 are of another "
    "architecture (amd64; arm64 asked); 1 lacks devices (0 free, 1 asked)"
)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("MINIMUM", "3"))
    return path


def test_the_table(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(job), "--nodes", NODES]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == [
        "PEER  POOL  NODE         ZONE    MICRO-BATCH  MEMORY  STEP PEAK",
        "0     gpu   dc-a100-0    dc      8            16 GiB  24.8 GiB",
        "1     gpu   dc-l4-0      dc      4            16 GiB  15.7 GiB",
        "2     edge  edge-orin-0  office  1            10 GiB  8.8 GiB",
    ]
    assert printed[5].startswith("3 of 4 peers placed, proven optimal (")
    assert printed[6] == (
        "zone crossings 2, stranded memory 83.1 GiB, cost 2.80 an hour, micro-batch halvings 10"
    )
    assert printed[7:] == [REASON]


def test_data_says_the_same_in_both_formats(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(job), "--nodes", NODES, "--output", "json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main(["plan", str(job), "--nodes", NODES, "--output", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == as_json
    assert as_json["feasible"] is True
    assert as_json["gapPercent"] == "0"
    assert as_json["reasons"] == [REASON]
    assert as_json["objectives"][0] == {
        "name": "peers placed",
        "value": 3,
        "bound": 3,
        "gapPercent": "0",
    }
    first = as_json["peers"][0]
    assert (first["node"], first["microBatchSize"], first["zone"]) == ("dc-a100-0", 8, "dc")


def test_no_plan_is_told_with_reasons(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("MINIMUM", "4"))
    assert main(["plan", str(job), "--nodes", NODES]) == 1
    assert capfd.readouterr().out.splitlines() == [
        "no plan: 3 of 4 peers can be placed together; the job needs 4, with each pool's minimum",
        f"  {REASON}",
    ]
    assert main(["plan", str(job), "--nodes", NODES, "--output", "json"]) == 1
    answer = json.loads(capfd.readouterr().out)
    assert answer["feasible"] is False
    assert answer["proven"] is True


def test_without_an_inventory_it_is_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.yaml"
    body = yaml.safe_load(JOB.replace("MINIMUM", "1"))
    body["spec"]["pools"] = [{"name": "here", "resources": {"cpu": "10m", "memory": "1Mi"}}]
    del body["spec"]["model"]["footprint"]
    job.write_text(yaml.safe_dump(body))
    assert main(["plan", str(job), "--output", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["peers"]
    assert (row["microBatchSize"], row["stepPeakBytes"]) == (32, None)


@pytest.mark.parametrize(
    ("job_text", "nodes_text", "said"),
    [
        (None, None, "job.yaml: No such file or directory"),
        ("a: [", None, "job.yaml is not YAML"),
        ("kind: Pod\n", None, "job.yaml: one FineTuneJob is wanted; the file has Pod"),
        (JOB.replace("MINIMUM", "0"), None, "job.yaml: spec.placement.minPeers: "),
        (JOB.replace("MINIMUM", "1"), "nodes: []\n", "nodes.yaml: nodes: must have at least 1"),
        (JOB.replace("MINIMUM", "1"), None, "nodes.yaml: No such file or directory"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    job_text: str | None,
    nodes_text: str | None,
    said: str,
) -> None:
    job, nodes = tmp_path / "job.yaml", tmp_path / "nodes.yaml"
    for path, text in ((job, job_text), (nodes, nodes_text)):
        if text is not None:
            path.write_text(text)
    assert main(["plan", str(job), "--nodes", str(nodes)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1


def test_the_table_shows_processes_where_peers_have_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.yaml"
    method = "{type: FlexDeMo, flexDeMo: {sharding: ZeRO1}}"
    text = JOB.replace("{type: DecLoRA}", method).replace("MINIMUM", "1")
    gpu = text.partition("  - name: gpu")[0]
    pools = "  - {name: cpu, processes: 2, resources: {memory: 40Gi}}\n"
    path.write_text(gpu + pools + "  storage: {uri: file:///store}\n")
    assert main(["plan", str(path), "--nodes", NODES]) == 0
    header, row = (line.split() for line in capsys.readouterr().out.splitlines()[:2])
    assert dict(zip(header, row, strict=False))["PROCESSES"] == "2"
