"""What is decided without a person, the method or by the method, is told: in the events, in the peers' reports, on the page."""

from __future__ import annotations

from pathlib import Path

import run_harness
from run_harness import Crew, Memory

from haversack_trainer.methods.flexdemo.probe import PARTS
from haversack_trainer.report.events import Decided, read_events


def test_what_auto_chose_is_in_the_report(tmp_path: Path) -> None:
    model = run_harness.a_model(tmp_path / "model")
    data = run_harness.a_data_file(tmp_path / "train.jsonl")
    transport = Memory()
    job = run_harness.a_job(
        model,
        data,
        tmp_path / "store",
        "FlexDeMo",
        training={"rounds": len(PARTS) + 2, "batchSize": 4, "seed": 17},
        numPeers=2,
    )
    changes = {
        "settings": {"scheme": "Auto"},
        "reason": "Auto chose FlexDeMo, since lines are fast",
    }
    method = job.method.model_copy(update=changes)
    job = job.model_copy(update={"method": method})
    two = Crew(transport, job, tmp_path)
    for peer in range(2):
        two.add(peer)
    two.run()
    assert len(two.survivors) == 2
    events = read_events(tmp_path / "store" / "job" / "events.jsonl")
    chosen, decided = (event for event in events if isinstance(event, Decided))
    assert (chosen.round, chosen.remark) == (0, method.reason)
    assert decided.round == len(PARTS)
    assert {report.remark for report in transport.log.reports.values()} == {decided.remark}
    page = (tmp_path / "store" / "job" / "report.html").read_text()
    assert f"From round 0 on, {method.reason}." in page
    assert f"From round {len(PARTS)} on, scheme Auto chose " in page
    assert len({peer.material.model.trainables_digest() for peer in two.survivors}) == 1
