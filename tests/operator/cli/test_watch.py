"""``haversack watch``: of a cluster and of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_jobs import META, a_file, a_job, a_kubectl, condition, keep, over

from haversack_operator.cli import jobfile
from haversack_operator.cli.main import main
from haversack_operator.cluster.local_lock import running
from haversack_operator.cluster.local_state import StateFile


@pytest.mark.parametrize(("kind", "code"), [("Complete", 0), ("Failed", 1)])
def test_watch_ends_with_the_job(tmp_path: Path, kind: str, code: int) -> None:
    state = keep(tmp_path, {**a_job(), "status": over(kind)})
    assert main(["watch", "mine", "--state-dir", str(state)]) == code


PLANNED = {
    "conditions": [condition("Ready", "Training")],
    "placement": {"planName": "mine-plan-1", "revision": 1, "gapPercent": "0"},
}


def test_watch_shows_the_peers_of_a_run_on_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    row = {"peer": 0, "state": "Training", "round": 3, "loss": "0.5", "bytesSent": 10}
    plan = {
        "kind": "FineTunePlan",
        "metadata": {"name": "mine-plan-1"},
        "spec": {"peers": [{"peer": 0, "pool": "cpu", "node": "orin-1"}]},
        "status": {"peers": [row]},
    }
    StateFile(tmp_path / "mine").write({**a_job(), "status": PLANNED}, [plan])
    with running(tmp_path / "mine"):
        assert main(["watch", "mine", "--once", "--state-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "mine (SPSA) · training" in told
    assert "orin-1" in told


@pytest.mark.parametrize("kind", ["Ready", "Suspended"])
def test_watch_ends_where_nobody_runs_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    file = a_file(tmp_path)
    job = jobfile.read(file, tmp_path).job
    meta = {**META, **job["metadata"]}
    keep(tmp_path, {**job, "metadata": meta, "status": over(kind)})
    assert main(["watch", "mine", "--state-dir", str(tmp_path)]) == 130
    assert capsys.readouterr().out == (
        f"mine (SPSA) · not running\nresume    haversack run {file} --state-dir {tmp_path}\n"
    )


def test_watch_reads_a_cluster_with_the_persons_own_kubectl(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {**over("Complete"), "placement": {"planName": "mine-plan-1"}}
    row = {"peer": 0, "state": "Done", "round": 3, "loss": "0.5", "bytesSent": 10}
    spec_row = {"peer": 0, "pool": "cpu", "node": "orin-1"}
    plan = {"spec": {"peers": [spec_row]}, "status": {"peers": [row]}}
    a_kubectl(
        tmp_path,
        {"get finetuneplans": plan, "get finetunejobs": {**a_job(), "status": status}},
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["watch", "mine", "-n", "team", "--state-dir", str(tmp_path)]) == 0
    assert "mine: complete" in capsys.readouterr().out
    asked = (tmp_path / "asked").read_text()
    assert "get finetunejobs.haversack.dev mine -o json --namespace team" in asked
