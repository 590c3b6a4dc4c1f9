"""``decide``: what is done about a job, for each thing that may be the case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from decisions import EMPTY, act, applied, condition, deleted, told
from operator_builders import (
    NODES,
    NOW,
    SETTINGS,
    a_hub,
    a_job,
    a_peer,
    a_plan,
    a_progress,
    a_publication,
    a_snapshot,
    a_verdict,
)

from haversack_operator.cluster.base import Actions, Ref
from haversack_operator.reconcile import decide
from haversack_operator.snapshot import Invalid, Job, Snapshot
from haversack_trainer.contract.records import OPERATOR, Kind, Record


def test_attempts_are_remembered_for_when_no_pod_is_left() -> None:
    new = told(a_snapshot(**EMPTY))
    assert new.job.status["attempts"] == [1, 1]
    gone = replace(new, pods=(a_hub(),), plan=a_plan())
    assert applied(act(gone)) == ["one--cpu-0-1", "one--cpu-1-1"]


def test_a_new_job_gets_everything_in_the_order_it_is_needed() -> None:
    actions = act(a_snapshot(**EMPTY))
    kinds = [body["kind"] for body in actions.apply]
    assert kinds == ["FineTunePlan", "ConfigMap", "Service", "NetworkPolicy", "Pod", "Pod", "Pod"]
    assert applied(actions) == ["one-hub-0", "one--cpu-0-0", "one--cpu-1-0"]
    assert actions.key_pairs == {"ca", "hub", "operator", "peer-0", "peer-1"}
    assert condition(actions, "Placed") == ("True", "PlanApplied")
    assert condition(actions, "Reconciling") == ("True", "Starting")


def test_a_steady_job_is_left_alone() -> None:
    assert act(told(a_snapshot())) == Actions()


def test_only_what_is_missing_is_made_anew() -> None:
    there = a_snapshot().existing - {("Service", "one-hub")}
    actions = act(told(a_snapshot(existing=there, pods=(a_hub(), a_peer(1)))))
    assert [body["metadata"]["name"] for body in actions.apply] == ["one-hub", "one--cpu-0-1"]


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (a_peer(0, node="gone"), "NodeLost"),
        (a_peer(0, deleting=True), "Deleted"),
        (a_peer(0, disrupted=True), "Disrupted"),
        (a_peer(0, phase="Failed", ready=False), "PodFailed"),
        (a_peer(0, ready=False, restarts=4, exit_code=1), "Crashed"),
        (a_peer(0, ready=False, exit_code=42), "BadNode"),
        (a_peer(0, pool="other"), "Moved"),
    ],
)
def test_a_peer_that_is_lost_gets_a_fresh_pod(pod: Any, reason: str) -> None:
    actions = act(a_snapshot(pods=(a_hub(), pod, a_peer(1))))
    assert applied(actions) == ["one--cpu-0-1"]
    assert deleted(actions) == ([] if pod.deleting else ["one--cpu-0-0"])
    assert (reason in {event.reason for event in actions.events}) is not pod.deleting


def test_a_peer_that_crashes_is_first_restarted_in_place() -> None:
    crashing = a_peer(0, ready=False, restarts=3, exit_code=1, waiting_reason="CrashLoopBackOff")
    actions = act(a_snapshot(pods=(a_hub(), crashing, a_peer(1))))
    assert not actions.apply
    assert not actions.delete


def test_a_replacement_is_counted_once_though_its_writes_failed() -> None:
    """The status was written, the pod's deletion or that of its successor's was not."""
    first = told(a_snapshot(pods=(a_hub(), a_peer(0, exit_code=42), a_peer(1))))
    assert first.job.status["replacements"] == 1
    for more in ((), (a_peer(0, attempt=1),)):
        again = replace(first, pods=(*first.pods, *more))
        status = act(again).status or first.job.status
        assert status["replacements"] == 1
    last = a_peer(0, attempt=1, exit_code=42)
    assert told(replace(first, pods=(a_hub(), last, a_peer(1)))).job.status["replacements"] == 2


@pytest.mark.parametrize(
    "more",
    [{"refusal": "exceeded quota: tight"}, {"nodes": (replace(NODES[0], unschedulable=True),)}],
    ids=["refused", "no room"],
)
def test_a_replacement_that_is_not_possible_now_is_counted_once(more: dict[str, Any]) -> None:
    """While a creation is refused nothing is deleted: the lost pod is seen again and again."""
    first = told(a_snapshot(pods=(a_hub(), a_peer(0, phase="Failed"), a_peer(1)), **more))
    assert first.job.status["replacements"] == 1
    assert (act(first).status or first.job.status)["replacements"] == 1


def test_a_limit_below_what_was_replaced_already_ends_the_job_at_the_next() -> None:
    job = a_job(status={"replacements": 5}, failurePolicy={"maxReplacements": 2})
    assert condition(act(a_snapshot(job)), "Failed") == ("False", "InProgress")
    bad = (a_hub(exit_code=42, ready=False), a_peer(0), a_peer(1, exit_code=42, message="no GPU"))
    actions = act(a_snapshot(job, pods=bad))
    assert condition(actions, "Failed") == ("True", "TooManyReplacements")
    assert actions.status is not None
    (failed,) = (one for one in actions.status["conditions"] if one["type"] == "Failed")
    assert failed["message"].endswith("the last, one--cpu-1-0: no GPU")


def test_an_approver_with_an_endless_name_is_cut_to_what_a_record_holds() -> None:
    manual = a_job(evaluation={"gate": {"approval": "Manual"}})
    waiting = a_snapshot(
        replace(manual, approved_by="ä" * 70_000), progress=a_progress(verdict=a_verdict())
    )
    who = act(waiting).approve
    assert who is not None
    Record(Kind.APPROVAL, OPERATOR, 0, who.encode()).encode()


def test_a_pod_that_nobody_can_bind_is_planned_elsewhere() -> None:
    waits: dict[str, Any] = {"phase": "Pending", "ready": False, "waiting_reason": "Unschedulable"}
    young = a_peer(0, created=NOW - timedelta(seconds=30), **waits)
    assert not act(a_snapshot(pods=(a_hub(), young, a_peer(1)))).delete
    old = a_peer(0, created=NOW - timedelta(seconds=61), **waits)
    actions = act(a_snapshot(pods=(a_hub(), old, a_peer(1))))
    (plan,) = (body for body in actions.apply if body["kind"] == "FineTunePlan")
    assert [row["node"] for row in plan["spec"]["peers"]] == ["n2", "n1"]


def test_an_unfit_node_is_remembered_even_if_there_is_no_other() -> None:
    pods = (a_hub(), a_peer(0, ready=False, exit_code=42, node="n1"))
    actions = act(a_snapshot(a_job(1), pods=pods, plan=a_plan(1), nodes=NODES[:1]))
    (plan,) = (body for body in actions.apply if body["kind"] == "FineTunePlan")
    assert plan["spec"]["avoidedNodes"] == ["n1"]
    assert condition(actions, "Placed") == ("False", "CannotPlace")


def test_a_suspended_job_lets_peers_save_before_the_hub_goes() -> None:
    job = a_job(suspend=True)
    actions = act(a_snapshot(job))
    assert deleted(actions) == ["one--cpu-0-0", "one--cpu-1-0"]
    assert condition(actions, "Suspended") == ("True", "Stopping")
    saving = (a_hub(), a_peer(0, deleting=True))
    assert not act(a_snapshot(job, pods=saving)).delete
    assert deleted(act(a_snapshot(job, pods=(a_hub(),)))) == ["one-hub-0"]
    gone = act(a_snapshot(job, pods=()))
    assert condition(gone, "Suspended") == ("True", "Stopped")
    assert not gone.apply


def test_a_node_that_is_lost_does_not_hold_up_a_suspension_or_the_end() -> None:
    """Its kubelet will never confirm a deletion, not even one that was asked for before."""
    job = a_job(suspend=True)
    going = (a_hub(node="n2"), a_peer(0, node="gone", deleting=True), a_peer(1, node="n2"))
    refs = act(a_snapshot(job, pods=going)).delete
    assert refs == (Ref("Pod", "one--cpu-0-0", 0), Ref("Pod", "one--cpu-1-0"))
    hub = act(a_snapshot(job, pods=(a_hub(node="gone", deleting=True),))).delete
    assert hub == (Ref("Pod", "one-hub-0", 0),)
    over = told(a_snapshot(progress=a_progress(verdict=a_verdict(), published=a_publication())))
    late = replace(over, now=NOW + timedelta(seconds=60), pods=going)
    assert act(late).delete == refs


def test_an_approval_is_handed_on_once() -> None:
    job = replace(a_job(evaluation={"gate": {"approval": "Manual"}}), approved_by="alice")
    waiting = a_snapshot(job, progress=a_progress(verdict=a_verdict()))
    assert act(waiting).approve == "alice"
    assert condition(act(waiting), "GatePassed") == ("False", "AwaitingApproval")
    known = a_progress(verdict=a_verdict(), approved_by="alice")
    assert act(replace(waiting, progress=known)).approve is None
    assert act(replace(waiting, job=replace(job, approved_by=None))).approve is None


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (
            {"progress": a_progress(verdict=a_verdict(), published=a_publication())},
            "AdapterPublished",
        ),
        ({"progress": a_progress(verdict=a_verdict(passed=False))}, "GateFailed"),
        (
            {"pods": (a_hub(), a_peer(0, exit_code=2, message="no such bucket"), a_peer(1))},
            "BadJob",
        ),
    ],
)
def test_the_end_is_told_before_anything_is_cleaned_up(seen: dict[str, Any], reason: str) -> None:
    actions = act(a_snapshot(**seen))
    complete = reason == "AdapterPublished"
    assert condition(actions, "Complete") == (str(complete), reason)
    assert condition(actions, "Failed") == (str(not complete), reason)
    assert (actions.apply, actions.delete) == ((), ())


def test_after_the_end_peers_may_finish_and_the_hub_goes_last() -> None:
    over = told(a_snapshot(progress=a_progress(verdict=a_verdict(), published=a_publication())))
    assert not act(over).delete
    done = tuple(a_peer(peer, phase="Succeeded", ready=False) for peer in range(2))
    assert deleted(act(replace(over, pods=(a_hub(), *done)))) == ["one-hub-0"]
    late = replace(over, now=NOW + timedelta(seconds=60))
    assert deleted(act(late)) == ["one--cpu-0-0", "one--cpu-1-0"]


def test_a_finished_job_is_deleted_after_its_time_to_live() -> None:
    job = a_job(ttlSecondsAfterFinished=100)
    over = told(a_snapshot(job, progress=a_progress(published=a_publication()), pods=(a_hub(),)))
    over = replace(over, pods=())
    assert decide(over, SETTINGS).due_seconds == 100
    assert act(replace(over, now=NOW + timedelta(seconds=100))).delete_job


def test_a_deadline_does_not_count_suspension() -> None:
    """60 s of running, an hour of suspension, 60 s of running."""
    snapshot = a_snapshot(a_job(activeDeadlineSeconds=100), **EMPTY)
    for step, suspend in ((60, True), (3600, False), (60, False)):
        assert condition(act(snapshot), "Failed") == ("False", "InProgress")
        snapshot = told(snapshot)
        assert isinstance(snapshot.job, Job)
        spec = snapshot.job.spec.model_copy(update={"suspend": suspend})
        later = snapshot.now + timedelta(seconds=step)
        snapshot = replace(snapshot, job=replace(snapshot.job, spec=spec), now=later)
    assert condition(act(snapshot), "Failed") == ("True", "DeadlineExceeded")


def test_an_invalid_spec_is_told_and_its_pods_are_left_alone() -> None:
    job = Invalid("one", "team", "uid", 2, "spec.pools[0].peers.min: may not exceed replicas")
    actions = act(Snapshot(job, NOW, pods=(a_hub(), a_peer(0))))
    assert condition(actions, "Accepted") == ("False", "InvalidSpec")
    assert condition(actions, "Stalled") == ("True", "InvalidSpec")
    assert (actions.apply, actions.delete) == ((), ())


def test_nothing_is_done_for_a_job_that_is_being_deleted() -> None:
    assert act(a_snapshot(replace(a_job(), deleting=True), **EMPTY)) == Actions()


def test_old_plans_are_cleaned_up() -> None:
    lost = (a_hub(), a_peer(0, node="gone"), a_peer(1))
    actions = act(a_snapshot(pods=lost, plan=a_plan(revision=4, node="gone")))
    assert "one-plan-2" in deleted(actions)
