"""The states that a job can be in, and the conditions and the health that each should show."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from operator_builders import (
    NOW,
    a_hub,
    a_job,
    a_peer,
    a_progress,
    a_publication,
    a_snapshot,
    a_verdict,
)

from haversack_operator.snapshot import Invalid, Snapshot

EMPTY: dict[str, Any] = {"pods": (), "plan": None, "existing": frozenset()}
LATE = timedelta(seconds=601)
SILENCE = timedelta(seconds=1801)
LOOPS: dict[str, Any] = {"ready": False, "exit_code": 1, "waiting_reason": "CrashLoopBackOff"}
HUB_IMAGE = a_hub(ready=False, phase="Pending", waiting_reason="ImagePullBackOff")
GANG = a_job(placement={"minPeers": 2})
IMAGE = a_peer(0, ready=False, phase="Pending", waiting_reason="ImagePullBackOff")
CRASH = a_peer(0, ready=False, exit_code=1, restarts=1, message="out of memory")
STATES: dict[str, tuple[Snapshot, tuple[timedelta, ...], str, dict[str, str]]] = {
    "just placed": (a_snapshot(**EMPTY), (), "InProgress", {"Placed": "True PlanApplied"}),
    "starting": (
        a_snapshot(pods=(a_hub(), *(a_peer(peer, ready=False) for peer in range(2)))),
        (LATE,),
        "InProgress",
        {"PeersReady": "False Starting", "Reconciling": "True Starting"},
    ),
    "training": (a_snapshot(progress=a_progress()), (), "Current", {"Ready": "True Training"}),
    "training, one peer short": (
        a_snapshot(pods=(a_hub(), CRASH, a_peer(1))),
        (),
        "Current",
        {"Ready": "True Training"},
    ),
    "a crash loop": (
        a_snapshot(GANG, pods=(a_hub(), CRASH, a_peer(1))),
        (),
        "InProgress",
        {"PeersReady": "False PeerCrashLoop"},
    ),
    "no image yet": (
        a_snapshot(GANG, pods=(a_hub(), IMAGE, a_peer(1))),
        (),
        "InProgress",
        {"PeersReady": "False ImagePull"},
    ),
    "no image for long": (
        a_snapshot(GANG, pods=(a_hub(), IMAGE, a_peer(1))),
        (LATE,),
        "Failed",
        {"Stalled": "True ImagePull"},
    ),
    "the hub crashed": (
        a_snapshot(pods=(a_hub(restarts=1, **LOOPS), a_peer(0), a_peer(1))),
        (),
        "InProgress",
        {"HubReady": "False HubCrashLoop", "Ready": "False HubCrashLoop"},
    ),
    "the hub's image does not come": (
        a_snapshot(pods=(HUB_IMAGE, a_peer(0), a_peer(1))),
        (),
        "InProgress",
        {"HubReady": "False ImagePull", "Reconciling": "True ImagePull"},
    ),
    "the hub's image does not come for long": (
        a_snapshot(pods=(HUB_IMAGE, a_peer(0), a_peer(1))),
        (LATE,),
        "Failed",
        {"Ready": "False ImagePull", "Stalled": "True ImagePull"},
    ),
    "no room for the hub": (
        a_snapshot(pods=(replace(HUB_IMAGE, waiting_reason="Unschedulable"), a_peer(0), a_peer(1))),
        (),
        "InProgress",
        {"HubReady": "False Unschedulable", "Ready": "False Unschedulable"},
    ),
    "nobody has joined": (
        a_snapshot(progress=a_progress(view=(), round=0, peers=())),
        (SILENCE, SILENCE),
        "InProgress",
        {"Ready": "False Starting", "Reconciling": "True Starting"},
    ),
    "silent for a while": (
        a_snapshot(progress=a_progress()),
        (LATE,),
        "Current",
        {"Ready": "True Training"},
    ),
    "silent for long": (
        a_snapshot(progress=a_progress()),
        (SILENCE,),
        "Failed",
        {"Ready": "False NoProgress", "Stalled": "True NoProgress"},
    ),
    "silent for long, and nobody is left in the view": (
        a_snapshot(progress=a_progress(view=())),
        (SILENCE,),
        "Failed",
        {"Stalled": "True NoProgress"},
    ),
    "the hub does not answer for long": (
        a_snapshot(progress=None),
        (SILENCE,),
        "Failed",
        {"Stalled": "True NoProgress"},
    ),
    "no room yet": (
        a_snapshot(nodes=(), **EMPTY),
        (),
        "InProgress",
        {"Placed": "False CannotPlace"},
    ),
    "no room for long": (
        a_snapshot(nodes=(), **EMPTY),
        (LATE,),
        "Failed",
        {"Stalled": "True CannotPlace"},
    ),
    "a secret is missing": (
        a_snapshot(missing_secrets=("keys",), **EMPTY),
        (),
        "InProgress",
        {"Accepted": "False MissingSecret", "Reconciling": "True MissingSecret"},
    ),
    "a secret is missing for long": (
        a_snapshot(missing_secrets=("keys",), **EMPTY),
        (LATE,),
        "Failed",
        {"Stalled": "True MissingSecret"},
    ),
    "refused": (
        a_snapshot(refusal="exceeded quota: tight"),
        (),
        "Failed",
        {"Stalled": "True Refused"},
    ),
    "a namesake is still there": (
        a_snapshot(leftovers=("Pod one--cpu-0-0",), **EMPTY),
        (),
        "InProgress",
        {"Placed": "False Pending"},
    ),
    "stopping": (a_snapshot(a_job(suspend=True)), (), "InProgress", {"Suspended": "True Stopping"}),
    "stopped": (
        a_snapshot(a_job(suspend=True), pods=()),
        (),
        "InProgress",
        {"Suspended": "True Stopped", "HubReady": "Unknown Suspended"},
    ),
    "waits for a person": (
        a_snapshot(
            a_job(evaluation={"gate": {"approval": "Manual"}}),
            progress=a_progress(verdict=a_verdict()),
        ),
        (),
        "Current",
        {"Ready": "True AwaitingApproval", "GatePassed": "False AwaitingApproval"},
    ),
    "waits for a person for long": (
        a_snapshot(
            a_job(evaluation={"gate": {"approval": "Manual"}}),
            progress=a_progress(verdict=a_verdict()),
        ),
        (SILENCE,),
        "Current",
        {"Ready": "True AwaitingApproval"},
    ),
    "published": (
        a_snapshot(progress=a_progress(verdict=a_verdict(), published=a_publication())),
        (timedelta(0), LATE),
        "Current",
        {
            "Complete": "True AdapterPublished",
            "Ready": "True AdapterPublished",
            "GatePassed": "True GatePassed",
        },
    ),
    "gate failed": (
        a_snapshot(progress=a_progress(verdict=a_verdict(passed=False))),
        (timedelta(0), LATE),
        "Failed",
        {"Failed": "True GateFailed", "Stalled": "True GateFailed", "Complete": "False GateFailed"},
    ),
    "invalid": (
        Snapshot(Invalid("one", "team", "uid", 3, "spec.model.uri: is missing"), NOW),
        (),
        "Failed",
        {"Accepted": "False InvalidSpec", "Stalled": "True InvalidSpec"},
    ),
}
