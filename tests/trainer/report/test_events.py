"""Events are whole lines that come back as they were, and are what their page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_cases import some_events

from haversack_trainer.report.documentation import events_page
from haversack_trainer.report.events import (
    CheckpointFailed,
    EventLog,
    PeerLeft,
    ReportError,
    RoundClosed,
    read_events,
)

PAGE = Path(__file__).parents[3] / "docs/events.md"


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "run" / "events.jsonl")
    for event in some_events():
        log.append(event)
    log.close()
    assert read_events(tmp_path / "run" / "events.jsonl") == some_events()


def test_a_line_is_json_with_the_documented_names(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append(
        RoundClosed(time=1.5, round=3, members=(0, 2), losses={0: 0.5, 2: None}, payload_bytes=96)
    )
    log.close()
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "kind": "RoundClosed", "time": 1.5, "round": 3, "members": [0, 2], "losses": {"0": 0.5, "2": None},
        "payloadBytes": 96, "seconds": None, "exchangeSeconds": None, "waitedSeconds": None, "metrics": {},
    }  # fmt: skip


def test_a_torn_line_costs_one_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first, second, third = (PeerLeft(time=float(peer), peer=peer, round=1) for peer in range(3))
    log = EventLog(path)
    log.append(first)
    log.append(second)
    log.close()
    path.write_bytes(path.read_bytes()[:-7])
    log = EventLog(path)
    log.append(third)
    log.close()
    assert read_events(path) == [first, third]


def test_kinds_of_other_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    event = CheckpointFailed(time=1.0, round=5, reason="no room left")
    path.write_text(
        '{"kind": "Teleported", "time": 1}\n'
        + event.model_dump_json(by_alias=True)
        + "\nnot json\n"
    )
    assert read_events(path) == [event]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"file/events\.jsonl cannot be used for events"):
        EventLog(tmp_path / "file" / "events.jsonl")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        read_events(tmp_path / "events.jsonl")


def test_the_page_is_made_from_the_code() -> None:
    assert PAGE.read_text() == events_page(), (
        "run: python -m haversack_trainer.report.documentation > docs/events.md"
    )
