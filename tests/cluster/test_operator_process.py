"""``haversack-operator`` as a process: its pages, its end, and what an older CRD let pass."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from control_plane import ControlPlane
from job_cases import BASE
from operator_process import OperatorProcess, operating
from operator_world import World
from waiting import wait_for

from haversack_operator.main import parse_options

pytestmark = pytest.mark.cluster
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/finetunejobs.haversack.dev"


def test_pages_tell_that_it_lives_is_ready_and_what_it_did(
    operator: OperatorProcess, world: World
) -> None:
    world.add_job("one", BASE)
    world.wait_pods("one", "one--cpu-0-0", "one--cpu-1-0")
    assert operator.page("/healthz") == (200, "ok")
    assert operator.page("/readyz") == (200, "ok")
    # The pods are there before the pass that made them has ended and is counted.
    counted = 'haversack_actions_total{action="apply"}'
    wait_for(lambda: counted in operator.page("/metrics")[1])
    code, page = operator.page("/metrics")
    assert code == 200
    assert world.namespace not in page


def test_sigterm_ends_it_cleanly(watched: ControlPlane, tmp_path: Path) -> None:
    log = tmp_path / "operator.log"
    with operating(watched.kubeconfig(), log, "--namespaces=nowhere") as process:
        assert process.stop() == 0
    assert "Traceback" not in log.read_text()


def test_without_a_cluster_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "haversack_operator.main", "--metrics-port=0"]
    root = Path(__file__).parents[2]
    environment = {
        "PYTHONPATH": f"{root / 'operator'}:{root / 'trainer'}",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "set KUBECONFIG" in done.stderr
    assert "Traceback" not in done.stderr


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAVERSACK_OPERATOR_METRICS_PORT", "9")
    monkeypatch.setenv("HAVERSACK_OPERATOR_NAMESPACES", "a, b")
    assert parse_options([]).metrics_port == 9
    assert parse_options([]).namespaces == ("a", "b")
    assert parse_options(["--metrics-port=7"]).metrics_port == 7


def test_a_job_that_an_older_crd_let_pass_is_told_what_to_change(world: World) -> None:
    definition = world.client.request("GET", DEFINITION).body
    lax = copy.deepcopy(definition)
    drop_rules(lax["spec"])
    assert world.client.request("PUT", DEFINITION, lax).code == 200
    try:
        wait_for(lambda: is_let_in(world))
        accepted = world.wait_condition("one", "Accepted", "False", "InvalidSpec")
    finally:
        newest = world.client.request("GET", DEFINITION).body
        newest["spec"] = definition["spec"]
        assert world.client.request("PUT", DEFINITION, newest).code == 200
    assert "minPeers" in accepted["message"]
    assert not world.pods("one")


def is_let_in(world: World) -> bool:
    """The API server takes up a changed definition a moment after it was written."""
    body = copy.deepcopy(BASE)
    body["metadata"] = {"name": "one", "namespace": world.namespace}
    body["spec"]["placement"] = {"minPeers": 9}
    return world.client.request("POST", world.path("FineTuneJob"), body).code == 201


def drop_rules(schema: Any) -> None:
    """Take all CEL rules out."""
    if isinstance(schema, dict):
        schema.pop("x-kubernetes-validations", None)
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list):
            drop_rules(inner)
