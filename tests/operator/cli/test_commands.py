"""The commands as a person calls them: what is printed, what the shell sees."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from haversack_operator.cli import jobfile
from haversack_operator.cli.main import COMMANDS, main
from haversack_operator.cli.run import Request, summary
from haversack_operator.cli.session import Outcome
from haversack_operator.cluster.local_lock import running
from haversack_operator.cluster.local_state import StateFile

HEAVY = ("numpy", "torch", "kopf", "aiohttp", "kubernetes", "highspy", "cryptography", "boto3")


SPEC: dict[str, Any] = {
    "model": {"uri": "file:///m", "task": "SequenceClassification"},
    "dataset": {"uri": "file:///d.jsonl"},
    "method": {"type": "SPSA"},
    "pools": [{"name": "cpu"}],
    "storage": {"uri": "file:///nowhere"},
}
META = {
    "name": "mine",
    "namespace": "default",
    "uid": "u-1",
    "generation": 1,
    "creationTimestamp": "2026-01-01T00:00:00Z",
}


def a_job(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "haversack.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": META,
        "spec": {**SPEC, **changes},
        "status": {},
    }


def keep(folder: Path, job: Mapping[str, Any]) -> Path:
    StateFile(folder / "mine").write(job, [])
    return folder


def condition(kind: str, reason: str = "Done", message: str = "", value: str = "True") -> Any:
    return {
        "type": kind,
        "status": value,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": reason,
        "message": message,
    }


def over(kind: str) -> dict[str, Any]:
    return {"conditions": [condition(kind)]}


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert f"haversack {command}" in told
    assert "``" not in told


@pytest.mark.parametrize("module", ["main", "watch", "report", "approve"])
def test_what_only_looks_starts_without_heavy_libraries(module: str) -> None:
    program = (
        f"import sys, haversack_operator.cli.{module}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("haversack run: ")
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_the_plug_in_calls_itself_by_its_own_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-finetune"])
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert capsys.readouterr().err.startswith("kubectl finetune run: ")


def test_report_prints_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    state = keep(
        tmp_path, {**a_job(storage={"uri": f"file://{store}"}), "status": over("Complete")}
    )
    assert main(["report", "mine", "--state-dir", str(state)]) == 2
    assert "there is no report at" in capsys.readouterr().err
    (store / "mine").mkdir(parents=True)
    (store / "mine/report.html").write_text("<html>")
    assert main(["report", "mine", "--state-dir", str(state)]) == 0
    assert capsys.readouterr().out.strip() == str(store / "mine/report.html")


def test_report_of_a_run_under_way_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "mine", "--state-dir", str(keep(tmp_path, a_job()))]) == 2
    assert "no report yet" in capsys.readouterr().err


MANUAL = a_job(evaluation={"gate": {"approval": "Manual"}})
AWAITING = {
    "conditions": [condition("GatePassed", "AwaitingApproval", "better", "False")],
    "verdict": {"passed": True, "reason": "better", "lossBefore": "1.8", "lossAfter": "0.7"},
}


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([], "mine does not wait for approval: it has no condition GatePassed yet"),
        (
            [condition("GatePassed", "NotEvaluated", "the run is not over", "False")],
            "its condition GatePassed is False (NotEvaluated: the run is not over)",
        ),
    ],
)
def test_nothing_is_approved_before_there_is_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], conditions: list[Any], said: str
) -> None:
    state = keep(tmp_path, {**MANUAL, "status": {"conditions": conditions}})
    assert main(["approve", "mine", "--state-dir", str(state)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert StateFile(state / "mine").approval() is None


def test_approve_leaves_word_for_the_running_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = keep(tmp_path, {**MANUAL, "status": AWAITING})
    assert main(["approve", "mine", "--by", "alice", "--state-dir", str(state)]) == 0
    assert capsys.readouterr().out == (
        "mine: approved by alice\ngate      passed: better\nheld-out  loss before 1.8, after 0.7\n"
    )
    assert StateFile(state / "mine").approval() == "alice"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (a_job(), "approval is not Manual"),
        (
            {**a_job(evaluation={"gate": {"approval": "Manual"}}), "status": over("Failed")},
            "there is nothing left to approve",
        ),
    ],
)
def test_approve_refuses_what_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: dict[str, Any], said: str
) -> None:
    assert main(["approve", "mine", "--state-dir", str(keep(tmp_path, job))]) == 2
    assert said in capsys.readouterr().err


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


@pytest.mark.parametrize("command", ["watch", "report", "approve"])
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../etc", "a\0b", "A", "a b", "a\n"])
def test_what_is_no_name_is_refused(
    capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    assert main([command, name]) == 2
    assert "is no name of a FineTuneJob" in capsys.readouterr().err


def a_kubectl(folder: Path, answers: Mapping[str, Any]) -> Path:
    """A program that answers like kubectl, and writes down what it was asked."""
    path = folder / "kubectl"
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(folder / 'asked')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"answers = json.loads({json.dumps(dict(answers))!r})\n"
        "known = [answer for words, answer in answers.items() if words in ' '.join(sys.argv)]\n"
        "if not known: sys.exit('E1126 noise of a library\\nError from server (NotFound): not found')\n"
        "print(json.dumps(known[0]))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


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


def test_a_job_that_is_nowhere_is_said_in_kubectls_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_kubectl(tmp_path, {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["watch", "mine", "--state-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"haversack watch: there is no job mine in {tmp_path}; in a cluster: not found\n"
    )
    monkeypatch.setenv("PATH", "")
    assert main(["watch", "mine", "--state-dir", str(tmp_path)]) == 2
    assert "no kubectl" in capsys.readouterr().err


DAMAGED = {
    "half": "{",
    "deep": "[" * 100_000,
    "a list": "[]",
    "no job": '{"plans": []}',
    "odd metadata": json.dumps({"job": {**a_job(), "metadata": {"name": 5}}, "plans": []}),
    "odd spec": json.dumps({"job": a_job(pools=5), "plans": []}),
    "odd status": json.dumps({"job": {**a_job(), "status": {"progress": 5}}, "plans": []}),
    "odd plans": json.dumps({"job": a_job(), "plans": [5]}),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_state_says_what_to_delete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = StateFile(keep(tmp_path, a_job()) / "mine")
    file.path.write_text(text)
    assert main(["watch", "mine", "--state-dir", str(tmp_path)]) == 2
    assert "is damaged; delete it" in capsys.readouterr().err


def a_file(folder: Path, **changes: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({**a_job(**changes), "metadata": {"name": "mine"}}))
    return path


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
