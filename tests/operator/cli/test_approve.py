"""``haversack approve``: of what, when, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_jobs import a_job, condition, keep, over

from haversack_operator.cli.main import main
from haversack_operator.cluster.local_state import StateFile

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
