"""The CRDs in a real API server: every rule and bound, defaults, immutability, what people see."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from address_cases import ADDRESS_CASES
from admin_client import Answer
from auto_cases import AUTO_CASES
from control_plane import ControlPlane
from crd_bounds import Bound, a_value, bounds
from d2ft_cases import D2FT_CASES
from dataset_cases import DATASET_CASES
from job_cases import BASE, RULE_CASES, Case, bound_cases, edited, job_schema, put
from method_cases import METHOD_CASES
from pool_cases import POOL_CASES

from haversack_operator.api.crd import plan_definition
from haversack_operator.api.job import MAX_NAME_LENGTH
from haversack_operator.api.parse import parse_spec
from haversack_operator.api.rules import METHOD_RULES, RULES
from haversack_operator.api.schema import Schema, at

pytestmark = pytest.mark.cluster

GROUP = "/apis/haversack.dev/v1alpha1/namespaces/default"
ALL_RULE_CASES = (
    *RULE_CASES,
    *ADDRESS_CASES,
    *DATASET_CASES,
    *METHOD_CASES,
    *AUTO_CASES,
    *D2FT_CASES,
    *POOL_CASES,
)
DRY = "dryRun=All&fieldValidation=Strict"
PLAN_SCHEMA: Schema = plan_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
PLAN: dict[str, Any] = {
    "apiVersion": "haversack.dev/v1alpha1",
    "kind": "FineTunePlan",
    "metadata": {"name": "base", "namespace": "default"},
    "spec": a_value(at(PLAN_SCHEMA, "spec")),
}


def create(plane: ControlPlane, body: object) -> Answer:
    return plane.request("POST", f"{GROUP}/finetunejobs?{DRY}", body)


@pytest.fixture(scope="module")
def stored(crds: ControlPlane) -> Iterator[ControlPlane]:
    """With one job and one plan that are really there."""
    for plural, body in (("finetunejobs", BASE), ("finetuneplans", PLAN)):
        named = body | {"metadata": {"name": "stored"}}
        made = crds.request("POST", f"{GROUP}/{plural}?fieldValidation=Strict", named)
        assert made.code == 201, made.message
    yield crds
    for plural in ("finetunejobs", "finetuneplans"):
        crds.request("DELETE", f"{GROUP}/{plural}")


@pytest.mark.parametrize("case", [*ALL_RULE_CASES, *bound_cases()], ids=str)
def test_one_side_of_each_rule_and_bound_is_accepted(crds: ControlPlane, case: Case) -> None:
    accepted = create(crds, edited(case.accepted))
    assert accepted.code == 201, accepted.message
    rejected = create(crds, edited(case.rejected))
    assert rejected.code in (400, 422), rejected
    assert case.says in rejected.message
    for rule in case.broken():
        assert rule.message in rejected.message


def test_a_folder_of_the_pod_is_no_storage(crds: ControlPlane) -> None:
    """Only here, since ``haversack run`` keeps its results in a folder."""
    body = edited({"spec.storage.uri": "file:///runs"})
    parse_spec(body)
    assert "uri: a folder of the pod goes with the pod" in create(crds, body).message
    assert create(crds, edited({"spec.dataset.uri": "file:///data"})).code == 201


def test_every_rule_has_a_case() -> None:
    """A rule that no case breaks is a rule that nobody knows to work."""
    broken = {rule for case in ALL_RULE_CASES for rule in case.broken()}
    assert not [rule for rule in (*RULES, *METHOD_RULES) if rule not in broken]


def test_the_defaults_are_those_of_the_models(crds: ControlPlane) -> None:
    answer = create(crds, BASE)
    assert answer.body["status"]["observedGeneration"] == -1
    assert answer.body["spec"]["placement"] == {"minPeers": 1, "timeoutSeconds": 600}
    assert parse_spec(answer.body) == parse_spec(BASE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.model.uri", "hf://other/name"),
        ("spec.dataset.maxLength", 64),
        ("spec.adapter.lora.rank", 4),
        ("spec.method.decLoRA.localSteps", 4),
        ("spec.training.seed", 4),
        ("spec.storage.uri", "s3://other/runs"),
        ("spec.pools[].peers.replicas", 3),
    ],
)
def test_what_makes_the_run_what_it_is_cannot_change(
    stored: ControlPlane, path: str, value: object
) -> None:
    refused = _change(stored, path, value)
    assert refused.code == 422
    assert "is immutable; make a new job instead" in refused.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.suspend", True),
        ("spec.activeDeadlineSeconds", 60),
        ("spec.placement.minPeers", 2),
        ("spec.pools[].resources.memory", "3Gi"),
        ("spec.runtime.image", "registry.example.com/trainer:2"),
    ],
)
def test_what_does_not_touch_the_result_may_change(
    stored: ControlPlane, path: str, value: object
) -> None:
    accepted = _change(stored, path, value)
    assert accepted.code == 200, accepted.message


def _change(plane: ControlPlane, path: str, value: object) -> Answer:
    changed = plane.request("GET", f"{GROUP}/finetunejobs/stored").body
    put(changed, job_schema(), path, value)
    return plane.request("PUT", f"{GROUP}/finetunejobs/stored?{DRY}", changed)


@pytest.mark.parametrize("bound", list(bounds(at(job_schema(), "status"), "status")), ids=str)
def test_one_side_of_each_bound_of_the_status_is_accepted(
    stored: ControlPlane, bound: Bound
) -> None:
    _judge_update(stored, "finetunejobs/stored/status", job_schema(), bound)


@pytest.mark.parametrize("bound", list(bounds(at(PLAN_SCHEMA, "status"), "status")), ids=str)
def test_one_side_of_each_bound_of_the_plan_status_is_accepted(
    stored: ControlPlane, bound: Bound
) -> None:
    _judge_update(stored, "finetuneplans/stored/status", PLAN_SCHEMA, bound)


def _judge_update(plane: ControlPlane, path: str, schema: Schema, bound: Bound) -> None:
    current = plane.request("GET", f"{GROUP}/{path}").body
    answers = []
    for value in (bound.accepted, bound.rejected):
        changed = copy.deepcopy(current)
        changed.setdefault("status", {})
        put(changed, schema, bound.path, value)
        answers.append(plane.request("PUT", f"{GROUP}/{path}?{DRY}", changed))
    _one_side(answers, bound, HTTPStatus.OK)


def _one_side(answers: list[Answer], bound: Bound, taken: HTTPStatus) -> None:
    accepted, rejected = answers
    assert accepted.code == taken, accepted.message
    assert rejected.code in (400, 422), rejected
    assert bound.shown in rejected.message


@pytest.mark.parametrize("bound", list(bounds(at(PLAN_SCHEMA, "spec"), "spec")), ids=str)
def test_one_side_of_each_bound_of_a_plan_is_accepted(crds: ControlPlane, bound: Bound) -> None:
    answers = []
    for value in (bound.accepted, bound.rejected):
        body = copy.deepcopy(PLAN)
        put(body, PLAN_SCHEMA, bound.path, value)
        answers.append(crds.request("POST", f"{GROUP}/finetuneplans?{DRY}", body))
    _one_side(answers, bound, HTTPStatus.CREATED)


def test_a_plan_never_changes(stored: ControlPlane) -> None:
    changed = stored.request("GET", f"{GROUP}/finetuneplans/stored").body
    changed["spec"]["revision"] = 2
    refused = stored.request("PUT", f"{GROUP}/finetuneplans/stored?{DRY}", changed)
    assert "a plan never changes; make a new one" in refused.message


def test_people_see_the_columns_they_need(stored: ControlPlane) -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "AwaitingApproval", **_WHEN},
        {"type": "GatePassed", "status": "False", "reason": "AwaitingApproval", **_WHEN},
        {"type": "Complete", "status": "False", "reason": "InProgress", **_WHEN},
    ]
    status = {
        "observedGeneration": 1,
        "peersSummary": "2/2",
        "progress": {"round": 3, "rounds": 20, "percent": 15, "loss": "1.25"},
        "traffic": {"bytesSent": 4096, "bytesReceived": 4096},
        "conditions": conditions,
    }
    patch = {"status": status}
    path = f"{GROUP}/finetunejobs/stored/status"
    stored.request("PATCH", path, patch, "application/merge-patch+json")
    head, row = stored.kubectl("get", "ftj").splitlines()
    wanted = ["NAME", "METHOD", "READY", "STATUS", "PEERS", "ROUND", "LOSS", "AGE"]
    assert head.split() == wanted
    shown = ["stored", "DecLoRA", "True", "AwaitingApproval", "2/2", "3", "1.25"]
    assert row.split()[:7] == shown
    wide, row = stored.kubectl("get", "ftj", "-o", "wide").splitlines()
    assert wide.split() == [*wanted, "GATE", "COMPLETE", "BYTES", "ADAPTER", "CHOSEN"]
    assert row.split()[8:11] == ["AwaitingApproval", "False", "4096"]


def test_the_columns_fit_the_longest_words(stored: ControlPlane) -> None:
    """Of a name, a reason, a count of peers and a loss."""
    name = "a" * MAX_NAME_LENGTH
    job = BASE | {"metadata": {"name": name}}
    assert stored.request("POST", f"{GROUP}/finetunejobs", job).code == 201
    reason = {"type": "Ready", "status": "False", "reason": "TooManyReplacements", **_WHEN}
    status = {
        "observedGeneration": 1,
        "peersSummary": "256/256",
        "progress": {"round": 1_000_000, "rounds": 1_000_000, "percent": 100, "loss": "0.12345"},
        "conditions": [reason],
    }
    path = f"{GROUP}/finetunejobs/{name}"
    stored.request("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")
    try:
        told = stored.kubectl("get", "ftj", name)
    finally:
        stored.request("DELETE", path)
    assert "TooManyReplacements" in told
    assert max(map(len, told.splitlines())) <= 120


_WHEN = {"observedGeneration": 1, "lastTransitionTime": "2026-09-01T08:00:00Z", "message": ""}


def test_explain_teaches(crds: ControlPlane) -> None:
    told = crds.kubectl("explain", "ftj.spec.pools.peers")
    assert "Fewest peers of this pool to run with." in told
    assert "Dec-LoRA: K local steps" in crds.kubectl("explain", "ftj.spec.method.decLoRA")
