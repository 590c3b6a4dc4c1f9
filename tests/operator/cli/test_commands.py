"""The commands as a person calls them: what is printed, what the shell sees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_jobs import a_job, a_kubectl, keep, over

from haversack_operator.cli.main import COMMANDS, main
from haversack_operator.cluster.local_state import StateFile

HEAVY = ("numpy", "torch", "kopf", "aiohttp", "kubernetes", "highspy", "cryptography", "boto3")


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


@pytest.mark.parametrize("command", ["watch", "report", "approve"])
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../etc", "a\0b", "A", "a b", "a\n"])
def test_what_is_no_name_is_refused(
    capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    assert main([command, name]) == 2
    assert "is no name of a FineTuneJob" in capsys.readouterr().err


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
