"""The job file that the operator writes is the one that the trainer reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_builders import SETTINGS, a_job

from haversack_operator.resources import hub_pod, peer_pod, shared_objects
from haversack_operator.snapshot import Assignment, Job
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.jobfile import JobFile


def written(job: Job) -> str:
    (config,) = (body for body in shared_objects(job) if body["kind"] == "ConfigMap")
    text: str = config["data"]["job.json"]
    return text


@pytest.mark.parametrize("method", METHODS)
def test_it_is_read_back_with_all_of_the_methods_settings(method: str) -> None:
    job = a_job(3, method={"type": method}, placement={"minPeers": 2})
    read = JobFile.model_validate_json(written(job))
    assert (read.num_peers, read.min_peers, read.run) == (3, 2, "team.one.01234567")
    assert read.method.type == method
    settings = METHODS[method].load_settings()
    assert settings.model_validate(read.method.settings) == settings()


@given(
    st.integers(1, 256),
    st.text(alphabet='äöü"\\ \n\t☃a', min_size=1, max_size=20),
    st.integers(0, 2**31 - 1),
)
def test_nothing_is_lost_on_the_way(peers: int, column: str, seed: int) -> None:
    dataset = {"uri": "s3://corpus/support", "textColumn": column}
    job = a_job(peers, dataset=dataset, training={"seed": seed})
    read = JobFile.model_validate_json(written(job))
    assert read.dataset == job.spec.dataset
    assert read.training == job.spec.training
    assert read.num_peers == peers


def test_it_is_found_where_the_pods_say(tmp_path: Path) -> None:
    job = a_job()
    for pod in (
        peer_pod(job, Assignment(0, "cpu", "n1", 8), 0, SETTINGS),
        hub_pod(job, 0, SETTINGS),
    ):
        container = pod["spec"]["containers"][0]
        variables = {one["name"]: one.get("value") for one in container["env"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert variables["HAVERSACK_JOB_FILE"] == f"{mounts['job']}/job.json"
    (tmp_path / "job.json").write_text(written(job))
    assert json.loads((tmp_path / "job.json").read_bytes())["job"] == "one"
