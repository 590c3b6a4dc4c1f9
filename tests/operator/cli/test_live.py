"""What a person sees: the words for a job's state, its lines, and how they are drawn."""

from __future__ import annotations

import io
from typing import Any

import pytest

from haversack_operator.cli import live
from haversack_operator.cli.screen import Screen
from haversack_trainer.contract.report import PeerReport, PeerState, RunProgress


def a_job(*conditions: tuple[str, str, str, str], **status: Any) -> dict[str, Any]:
    entries = [
        {"type": kind, "status": value, "reason": reason, "message": message}
        for kind, value, reason, message in conditions
    ]
    return {
        "metadata": {"name": "mine"},
        "spec": {"method": {"type": "SPSA"}},
        "status": {"conditions": entries, **status},
    }


READY = ("Ready", "True", "Training", "")
TRAINING = a_job(
    READY,
    peersSummary="3/4",
    progress={
        "round": 5,
        "rounds": 20,
        "percent": 25,
        "loss": "1.2",
        "estimatedRemainingSeconds": 90,
    },
    evaluation={"loss": "1.4", "accuracy": "0.715", "round": 4},
    traffic={"bytesSent": 3 * 2**20, "bytesReceived": 2**20},
)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([], "starting"),
        ([READY], "training"),
        ([("Placed", "False", "NoRoom", "no node fits.")], "waiting for a place: no node fits"),
        ([("Accepted", "False", "MissingSecret", "make it"), READY], "not accepted: make it"),
        ([("Suspended", "True", "AsAsked", ""), READY], "suspended"),
        ([("Complete", "True", "AdapterPublished", ""), READY], "complete"),
        ([("Failed", "True", "GateFailed", "worse.")], "failed (GateFailed): worse"),
        ([READY, ("GatePassed", "False", "AwaitingApproval", "")], "haversack approve mine"),
    ],
)
def test_state_in_words(conditions: list[tuple[str, str, str, str]], words: str) -> None:
    assert live.state(a_job(*conditions)).endswith(words)


def test_a_sentence_is_said_once() -> None:
    notes = ["Failed: it broke", "Stalled: it broke", "peer-1: it broke", "Placed: 2 of 2"]
    assert list(live.news(notes, ())) == ["Failed: it broke", "Placed: 2 of 2"]
    assert list(live.news(notes, {"it broke"})) == ["Placed: 2 of 2"]
    failed = a_job(("Failed", "True", "BadJob", "it broke"))
    assert live.state(failed) == "failed (BadJob): it broke"
    assert live.state(failed, {"it broke"}) == "failed (BadJob)"
    assert live.last_words(failed) == {"it broke"}


def test_what_the_gate_says_is_said_by_the_gates_line() -> None:
    verdict = {"passed": False, "reason": "worse", "lossBefore": "1", "lossAfter": "2"}
    failed = a_job(("Failed", "True", "GateFailed", "nothing is published: worse"), verdict=verdict)
    assert live.state(failed, live.said_by_ending(failed)) == "failed (GateFailed)"
    assert live.last_words(failed) == {"nothing is published: worse", "worse"}


def test_the_end_on_a_terminal_leaves_the_block() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.close(a_job(("Failed", "True", "BadJob", "it broke")), None)
    screen.say(["afterwards"])
    assert out.getvalue() == "mine (SPSA) · failed (BadJob)\nafterwards\n"


def test_one_line_for_logs_has_all_figures() -> None:
    assert live.line(TRAINING) == (
        "mine: training, peers 3/4, round 5/20, loss 1.2, held-out accuracy 71.5 %, sent 3 MiB, "
        "1 min 30 s left"
    )


def test_the_block_has_a_row_for_each_peer() -> None:
    peers = (
        PeerReport(
            peer=0, node="gpu-a", state=PeerState.TRAINING, round=5, loss=1.1, bytes_sent=10
        ),
        PeerReport(peer=3, node="orin", state=PeerState.TRAINING, round=4),
    )
    lines = live.block(TRAINING, RunProgress(run="r", view=(0,), peers=peers))
    assert lines[0] == "mine (SPSA) · training"
    assert lines[1].startswith("round 5/20 ██████░")
    assert lines[-2].split() == ["0", "gpu-a", "Training", "5", "1.100", "–", "10", "bytes"]
    assert "out of view" in lines[-1]


def test_no_table_without_a_peer_in_it() -> None:
    assert live.block(TRAINING, RunProgress(run="r")) == live.block(TRAINING, None)


def test_the_end_is_told_with_the_gates_figures() -> None:
    job = a_job(
        verdict={
            "passed": True,
            "reason": "better",
            "lossBefore": "1.8",
            "lossAfter": "0.7",
            "accuracyBefore": "0.14",
            "accuracyAfter": "0.82",
            "probeAccuracy": "0.7",
        },
        adapter={"uri": "s3://b/x", "sizeBytes": 1024},
    )
    told = "\n".join(live.ending(job))
    assert "accuracy before 14.0 %, linear probe 70.0 %, after 82.0 %" in told
    assert "adapter   s3://b/x (1 KiB)" in told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_drawn_anew_and_news_stay() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.show(TRAINING, None)
    screen.say(["peer 3 joined"])
    screen.show(TRAINING, None)
    news = out.getvalue().index("peer 3 joined")
    assert out.getvalue()[:news].endswith("\x1b[4F\x1b[J")
    assert out.getvalue().count("mine (SPSA)") == 2


def test_nothing_is_cut_off_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    Screen(out).show(a_job(("Placed", "False", "CannotPlace", "no node fits " * 9)), None)
    assert max(map(len, out.getvalue().splitlines())) < 40
    assert out.getvalue().count("fits") == 9


@pytest.mark.parametrize("kind", ["Complete", "Failed", "Suspended"])
def test_no_time_is_left_where_nobody_trains(kind: str) -> None:
    progress = {"round": 20, "rounds": 20, "estimatedRemainingSeconds": 0}
    job = a_job((kind, "True", "Done", ""), progress=progress)
    assert "left" not in live.line(job) + " ".join(live.block(job, None))


def test_who_is_to_approve_sees_the_figures() -> None:
    gate = ("GatePassed", "False", "AwaitingApproval", "better; a person has to approve")
    verdict = {"passed": True, "reason": "better", "lossBefore": "1.8", "lossAfter": "0.7"}
    job = a_job(READY, gate, verdict=verdict)
    assert "gate      passed: better" in live.block(job, None)
    assert "held-out  loss before 1.8, after 0.7" in live.block(job, None)
    assert "better" in live.line(job)
    assert "better" not in live.line(job, {"better; a person has to approve"})


@pytest.mark.parametrize(
    ("metadata", "options"),
    [
        ({"name": "mine"}, ""),
        ({"name": "mine", "namespace": "team"}, " -n team"),
        (
            {"name": "mine", "namespace": "x", "annotations": {"haversack.dev/state-dir": "a b"}},
            " --state-dir 'a b'",
        ),
        ({"name": "mine", "annotations": {"haversack.dev/state-dir": ".haversack"}}, ""),
    ],
)
def test_a_command_to_type_finds_the_job(metadata: dict[str, Any], options: str) -> None:
    job = a_job(("GatePassed", "False", "AwaitingApproval", "")) | {"metadata": metadata}
    assert live.state(job) == f"waiting for approval: haversack approve mine{options}"


def test_a_log_gets_a_line_when_there_is_something_new() -> None:
    out, now = io.StringIO(), [0.0]
    screen = Screen(out, clock=lambda: now[0])
    for moment in (0.0, 1.0, 10.0, 20.0):
        now[0] = moment
        screen.show(TRAINING, None)
    assert out.getvalue().count("\n") == 1
    now[0] = 22.0
    screen.show(a_job(("Complete", "True", "AdapterPublished", "")), None)
    assert out.getvalue().splitlines()[-1] == "mine: complete, peers –"
