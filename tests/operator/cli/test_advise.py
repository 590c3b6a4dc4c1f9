"""``haversack plan --advise``, and what ``plan`` says of choices that a job leaves open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from haversack_operator.cli.main import main
from haversack_operator.cluster import machine_speed
from haversack_trainer.contract.cards import METHODS

ROOT = Path(__file__).parents[3]
NODES = str(ROOT / "examples/nodes.yaml")
GIVEN = ("--bandwidth", "100", "--latency", "5", "--step-seconds", "0.5")
JOB: dict[str, Any] = {
    "apiVersion": "haversack.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "open"},
    "spec": {
        "model": {
            "uri": "file:///models/minilm",
            "task": "SequenceClassification",
            "footprint": {"parameters": 22_713_728, "hiddenSize": 384, "numLayers": 6},
        },
        "dataset": {"uri": "file:///data/support.jsonl"},
        "method": {"type": "Auto"},
        "pools": [
            {"name": "one", "peers": {"replicas": 2}, "resources": {"memory": "4Gi"}},
            {"name": "two", "peers": {"replicas": 2}, "resources": {"memory": "1000Mi"}},
        ],
        "storage": {"uri": "file:///store"},
    },
}


def written(folder: Path, **spec: Any) -> str:
    path = folder / "job.yaml"
    path.write_text(json.dumps({**JOB, "spec": {**JOB["spec"], **spec}}))
    return str(path)


def advice(capsys: pytest.CaptureFixture[str], job: str, *options: str) -> dict[str, Any]:
    assert main(["plan", job, "--advise", "-o", "json", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_table_has_a_row_for_every_method_and_pool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", written(tmp_path), "--advise", *GIVEN]) == 0
    header, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert header.split()[:4] == ["METHOD", "POOL", "MEMORY", "AVAILABLE"]
    assert [row.split()[:2] for row in rows] == [[m, p] for m in METHODS for p in ("one", "two")]
    (advised,) = {row.split()[0] for row in rows if row.endswith("advised")}
    assert advised == "DropPEFT"


def test_the_advice_names_what_decided_and_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", written(tmp_path), "--advise", *GIVEN]) == 0
    said = capsys.readouterr().out.split("\n\n")[1]
    assert said.startswith(
        "Auto chose DropPEFT, since it fits some peer only in tiny micro-batches"
    )
    assert "(100 Mbit/s, 5 ms (given); a step 500 ms (given))" in said


def test_data_has_the_same_in_both_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = written(tmp_path)
    as_json = advice(capsys, job, *GIVEN)
    assert main(["plan", job, "--advise", "--output", "yaml", *GIVEN]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == as_json
    assert as_json["figures"]["bandwidthMbps"] == 100
    assert as_json["advice"]["row"] == "little room"
    row = next(row for row in as_json["methods"] if (row["method"], row["pool"]) == ("SPSA", "one"))
    assert (row["sentBytes"], row["fetchedBytes"], row["verdict"]) == (24, 72, "fits")
    assert row["memoryBytes"] < row["availableBytes"] == 4 * 2**30
    assert row["computeSeconds"] == 8 * 0.5
    steps = {row["method"]: row["steps"] for row in as_json["methods"]}
    assert steps["DecLoRA"] == 10, "as its last row has it, not as for slow lines"


def test_the_micro_batch_and_memory_are_those_of_placement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = {"type": "DecLoRA"}
    job = written(tmp_path, method=method, pools=JOB["spec"]["pools"][1:])
    rows = advice(capsys, job, *GIVEN)["methods"]
    found = next(row for row in rows if row["method"] == "DecLoRA")
    assert main(["plan", job, "--nodes", NODES, "--output", "json"]) == 0
    placed = json.loads(capsys.readouterr().out)["peers"][0]
    assert placed["microBatchSize"] == found["microBatchSize"] == 1
    assert placed["stepPeakBytes"] == found["memoryBytes"]


def test_what_cannot_be_had_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pools = [{"name": "tiny", "resources": {"memory": "955Mi"}}]
    job = written(tmp_path, pools=pools, network={"bulk": "Direct"})
    assert main(["plan", job, "--advise", *GIVEN]) == 1
    table, said = capsys.readouterr().out.split("\n\n")
    assert "no room" in table
    assert "refused" in table
    assert said.startswith("spec.method.type: Auto finds no method for this job; SPSA: ")
    assert "SPSA: spec.network.bulk: SPSA sends nothing beside the log" in said
    assert "DecLoRA: a step of pool tiny takes 989.8" in said


def test_without_a_footprint_only_lines_and_devices_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {key: value for key, value in JOB["spec"]["model"].items() if key != "footprint"}
    found = advice(capsys, written(tmp_path, model=model), *GIVEN)
    assert found["advice"]["method"]["type"] == "DecLoRA"
    assert {row["memoryBytes"] for row in found["methods"]} == {None}
    assert "without model.footprint" in found["methods"][0]["reason"]


def test_what_is_not_given_is_declared_or_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = advice(capsys, written(tmp_path))["figures"]
    assert "this machine's loopback" in measured["words"]
    assert "estimated by this machine's CPUs" in measured["words"]
    assert min(measured["bandwidthMbps"], measured["stepSeconds"]) > 0
    auto = {"bandwidthMbps": "7", "stepSeconds": "2"}
    declared = advice(capsys, written(tmp_path, method={"type": "Auto", "auto": auto}))["figures"]
    assert declared["words"] == "7 Mbit/s, 20 ms (declared); a step 2 s (declared)"
    assert machine_speed.loopback().latency_seconds > 0


def test_a_plan_says_which_method_was_chosen_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", written(tmp_path), "--nodes", NODES]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Auto chose DropPEFT, since ")
    assert last.endswith("(line unknown; a step 19 s (estimated))")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--bandwidth", "1000", "--step-seconds", "1"), "scheme Auto chose DeMo 16/64"),
        (("--bandwidth", "0.1", "--step-seconds", "0.1"), "scheme Auto chose DiLoCo"),
        ((), "spec.method.flexDeMo leaves a choice to the run's first rounds; --bandwidth shows"),
    ],
)
def test_a_plan_says_what_scheme_auto_would_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    job = written(tmp_path, method={"type": "FlexDeMo", "flexDeMo": {"scheme": "Auto"}})
    assert main(["plan", job, "--nodes", NODES, *options]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(said)
    assert main(["plan", job, "--nodes", NODES, "--output", "json", *options]) == 0
    (remark,) = json.loads(capsys.readouterr().out)["remarks"]
    assert remark.startswith(said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--latency", "5"), "--latency: says little without --bandwidth"),
        (("--bandwidth", "5", "--latency", "-1"), "--latency: nothing arrives before it is sent"),
        (("--bandwidth", "0"), "'0' is not a number above 0"),
        (("--bandwidth", "nan"), "'nan' is not a number above 0"),
        (("--step-seconds", "soon"), "'soon' is not a number above 0"),
        (("--latency", "inf", "--bandwidth", "1"), "'inf' is not a number"),
    ],
)
def test_bad_figures_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    try:
        code: object = main(["plan", written(tmp_path), "--advise", *options])
    except SystemExit as refused:  # argparse's own way
        code = refused.code
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


def test_an_open_method_that_cannot_be_met_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = written(tmp_path, pools=[{"name": "tiny", "resources": {"memory": "512Mi"}}])
    for command in (["plan", job], ["run", job, "--state-dir", str(tmp_path / "state")]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "job.yaml: spec.method.type: Auto finds no method for this job; SPSA: " in said
        assert len(said.splitlines()) == 1
