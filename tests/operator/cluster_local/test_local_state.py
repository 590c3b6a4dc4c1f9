"""What makes a second ``haversack run`` go on where the first one stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from haversack_operator.cluster.local_state import Saved, StateError, StateFile, admit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_job(**changes: Any) -> dict[str, Any]:
    spec = {
        "model": {"uri": "file:///m", "task": "SequenceClassification"},
        "dataset": {"uri": "file:///d.jsonl"},
        "method": {"type": "SPSA"},
        "pools": [{"name": "cpu", "peers": {"replicas": 2}}],
        "storage": {"uri": "file:///nowhere"},
    }
    return {
        "apiVersion": "haversack.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "mine"},
        "spec": {**spec, **changes},
    }


def with_condition(saved: Saved, kind: str) -> Saved:
    entry = {
        "type": kind,
        "status": "True",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "Done",
        "message": "",
    }
    plan = {"kind": "FineTunePlan", "metadata": {"name": "mine-plan-1"}}
    return Saved({**saved.job, "status": {"conditions": [entry]}}, (plan,))


def test_a_first_run_is_new() -> None:
    saved = admit(a_job(), None, NOW)
    meta = saved.job["metadata"]
    assert (meta["namespace"], meta["generation"]) == ("default", 1)
    assert saved.job["status"] == {}


def test_an_unfinished_run_goes_on_with_what_may_change_changed() -> None:
    before = with_condition(admit(a_job(suspend=True), None, NOW), "Suspended")
    after = admit(a_job(reporting={"periodSeconds": 1}), before, NOW)
    assert after.job["metadata"]["uid"] == before.job["metadata"]["uid"]
    assert after.job["metadata"]["generation"] == 2
    assert after.job["spec"] == a_job(reporting={"periodSeconds": 1})["spec"]
    assert after.job["status"] == before.job["status"]
    assert after.plans == before.plans


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_after_the_end_a_run_starts_anew(kind: str) -> None:
    before = with_condition(admit(a_job(), None, NOW), kind)
    after = admit(a_job(model="other"), before, NOW)
    assert after.job["metadata"]["uid"] != before.job["metadata"]["uid"]
    assert after.plans == ()


def test_what_may_not_change_is_named() -> None:
    before = admit(a_job(), None, NOW)
    with pytest.raises(StateError, match=r"spec\.model is not what the unfinished run of mine"):
        admit(a_job(model="other"), before, NOW)


def test_the_peers_may_move_between_pools_but_not_change_their_number() -> None:
    before = admit(a_job(), None, NOW)
    pools = [{"name": "cpu"}, {"name": "gpu", "peers": {"replicas": 1}}]
    assert admit(a_job(pools=pools), before, NOW).job["spec"]["pools"] == pools
    with pytest.raises(
        StateError, match=r"spec\.pools: the peers\.replicas add up to 3, .* with 2"
    ):
        admit(a_job(pools=[{"name": "cpu", "peers": {"replicas": 3}}]), before, NOW)


def test_the_file_gives_back_what_was_kept(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "mine")
    assert file.read() is None
    saved = with_condition(admit(a_job(), None, NOW), "Suspended")
    file.write(saved.job, saved.plans)
    assert file.read() == saved


def test_an_approval_is_of_this_very_run(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    with pytest.raises(StateError, match="there is no job"):
        file.approve("alice")
    file.write(admit(a_job(), None, NOW).job, [])
    file.approve("alice")
    assert file.approval() == "alice"
    file.write(admit(a_job(), None, NOW).job, [])
    assert file.approval() is None
