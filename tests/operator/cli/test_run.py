"""``haversack run``: what it refuses, and what it prints at the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from cli_jobs import a_file, a_job, keep, over

from haversack_operator.cli import jobfile
from haversack_operator.cli.main import main
from haversack_operator.cli.run import Request, summary
from haversack_operator.cli.session import Outcome
from haversack_operator.cluster.local_lock import running


def test_a_job_runs_once_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path / "mine"):
        assert main(["run", str(a_file(tmp_path)), "--state-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"haversack run: mine is already running here (pid {os.getpid()}); "
        f"watch it with: haversack watch mine --state-dir {tmp_path}\n"
    )


def test_a_state_folder_that_cannot_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(a_file(tmp_path)), "--state-dir", "/proc/x"]) == 2
    told = capsys.readouterr().err
    assert "/proc/x/mine cannot be used as a state folder" in told
    assert len(told.splitlines()) == 1


def a_request(folder: Path) -> Request:
    return Request(folder / "job.yaml", None, folder / "state")


@pytest.mark.parametrize("outcome", [Outcome.COMPLETE, Outcome.FAILED])
def test_the_commands_that_a_run_prints_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: Outcome
) -> None:
    job = {**a_job(storage={"uri": f"file://{tmp_path}/store"}), "status": over("Failed")}
    request, state = a_request(tmp_path), keep(tmp_path / "state", job) / "mine"
    assert not [
        line for line in summary(job, outcome, request, state) if "haversack report" in line
    ]
    (tmp_path / "store/mine").mkdir(parents=True)
    (tmp_path / "store/mine/report.html").touch()
    (told,) = (line for line in summary(job, outcome, request, state) if "haversack report" in line)
    assert main(told.split()[2:]) == 0
    assert "report.html" in capsys.readouterr().out


def test_a_suspended_run_prints_how_it_was_called(tmp_path: Path) -> None:
    request = Request(tmp_path / "a job.yaml", tmp_path / "n.yaml", tmp_path / "state")
    *_, told = summary(a_job(), Outcome.SUSPENDED, request, tmp_path / "state/mine")
    assert told == (
        f"resume    haversack run '{tmp_path}/a job.yaml' --nodes {tmp_path}/n.yaml "
        f"--state-dir {tmp_path}/state"
    )


def test_the_secret_in_the_jobs_own_file_is_found_again(tmp_path: Path) -> None:
    job = a_job(storage={"uri": "s3://bucket/x", "s3": {"secretRef": {"name": "s3"}}})
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s3"},
        "stringData": {"AWS_ACCESS_KEY_ID": "a"},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump_all([{**job, "metadata": {"name": "mine"}}, secret]))
    read = jobfile.read(file, tmp_path).job
    found = jobfile.secret_of(read, "s3")
    assert found is not None
    assert found["stringData"] == {"AWS_ACCESS_KEY_ID": "a"}
    file.unlink()
    assert jobfile.secret_of(read, "s3") is None
    assert jobfile.secret_of(a_job(), "s3") is None


def test_a_job_that_no_node_can_take_ends_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = {"name": "large", "peers": {"min": 1}, "resources": {"memory": "900Ti"}}
    file = a_file(tmp_path, pools=[{"name": "cpu"}, large])
    assert main(["run", str(file), "--state-dir", str(tmp_path / "state")]) == 1
    told = capsys.readouterr().out
    assert told.startswith("mine: no place: ")
    assert "spec.pools[1] (large): 0 of 1 peer placed" in told
    assert told.count("0 of 1 peer placed") == 1
