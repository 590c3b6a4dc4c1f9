"""``method.type: Auto``: the table, what decides, and that a choice once made stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_cases import edited
from operator_builders import NODES, NOW, SETTINGS, a_job

from haversack_operator.api.choice import Choice, choose, fault, resolved, situation_of, with_row
from haversack_operator.api.estimate import Figures, declared
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec
from haversack_operator.api.parse import parse_spec, settings_of
from haversack_operator.api.status import MAX_REASON
from haversack_operator.cluster.kube_jobs import job_from
from haversack_operator.placement.demand import demand_of
from haversack_operator.reconcile.passes import decide
from haversack_operator.resources.shared import job_file
from haversack_operator.snapshot import Invalid, Job, Snapshot
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.choices import TABLE
from haversack_trainer.contract.choosing import Links, Memory, Peers, Situation, pick
from haversack_trainer.contract.traffic import Line

MINILM = {"parameters": 22_713_728, "hiddenSize": 384, "numLayers": 6}
LLAMA = {"parameters": 1_100_048_384, "hiddenSize": 2048, "numLayers": 22, "vocabularySize": 32_000}
FAST, SLOW, THIN = "1000", "0.5", "0.001"


def auto(**figures: str) -> dict[str, Any]:
    return {"spec.method": {"type": "Auto", "auto": figures}, "spec.model.footprint": MINILM}


def on(count: int, memory: str | None = None, **pool: Any) -> dict[str, Any]:
    device = {"count": count} | ({"memory": memory} if memory else {})
    return {"name": "gpu", "peers": {"replicas": 2}, "accelerator": device, **pool}


def cpus(memory: str, cpu: str = "1", name: str = "cpu") -> dict[str, Any]:
    return {"name": name, "peers": {"replicas": 2}, "resources": {"memory": memory, "cpu": cpu}}


def spec_of(edits: Mapping[str, Any]) -> JobSpec:
    return parse_spec(edited(edits))


def chosen(edits: Mapping[str, Any]) -> Choice:
    spec = spec_of(edits)
    return choose(spec, declared(spec))


LONG = {"spec.dataset.maxLength": 512, "spec.model.footprint": LLAMA, "spec.model.task": "CausalLM"}
REACHED: dict[str, dict[str, Any]] = {
    "thin lines": auto(bandwidthMbps=THIN, stepSeconds="1"),
    "several accelerators": {**auto(), "spec.pools": [on(2, "20Gi")]},
    "several accelerators, a large model": {**auto(), **LONG, "spec.pools": [on(8, "5500Mi")]},
    "no room for a backward pass": {**auto(), "spec.pools": [cpus("955Mi")]},
    "little room": {**auto(), "spec.pools": [cpus("1000Mi")]},
    "unlike peers": {**auto(), "spec.pools": [cpus("4Gi"), cpus("4Gi", "4", "large")]},
    "fast lines": auto(bandwidthMbps=FAST, stepSeconds="1"),
    "slow lines": auto(bandwidthMbps=SLOW, stepSeconds="0.2"),
    "otherwise": auto(),
}


def test_every_row_is_tried() -> None:
    assert [row.name for row in TABLE] == list(REACHED)


@pytest.mark.parametrize("name", REACHED)
def test_every_row_is_reached_by_a_job(name: str) -> None:
    choice = chosen(REACHED[name])
    assert choice.row.name == name
    assert choice.spec.method["type"] == choice.row.method
    assert choice.row.method in choice.reason
    assert choice.row.why in choice.reason
    assert len(choice.reason) <= MAX_REASON


@pytest.mark.parametrize("situation", [Situation(*one) for one in product(Links, Memory, Peers)])
def test_the_table_has_an_answer_for_every_situation(situation: Situation) -> None:
    assert pick(TABLE, situation, lambda _: True) is not None
    assert pick(TABLE, situation, lambda _: False) is None


def test_rows_name_methods_and_settings_that_there_are() -> None:
    for row in TABLE:
        settings = METHODS[row.method].load_settings()
        assert all(check.holds(settings.model_validate(row.settings)) for check in settings.checks)


pools = st.lists(
    st.builds(
        lambda memory, cpu, device: {
            "peers": {"replicas": 2},
            "resources": {"memory": f"{memory}Mi", "cpu": str(cpu)},
            **({"accelerator": device} if device else {}),
        },
        st.integers(800, 4000),
        st.sampled_from([1, 2, 8]),
        st.none()
        | st.fixed_dictionaries(
            {"count": st.integers(1, 3)},
            optional={"memory": st.integers(800, 9000).map(lambda size: f"{size}Mi")},
        ),
    ),
    min_size=1,
    max_size=3,
)
figures = st.fixed_dictionaries(
    {},
    optional={
        "bandwidthMbps": st.sampled_from(["0.001", "0.1", "10", "1000"]),
        "stepSeconds": st.sampled_from(["0.01", "1", "30"]),
    },
)


specs = st.builds(
    lambda pools, figures, footprint, dropout, bulk, batch: {
        "spec.method": {"type": "Auto", "auto": figures},
        **({"spec.model.footprint": footprint} if footprint else {}),
        "spec.adapter.lora.dropout": dropout,
        "spec.network.bulk": bulk,
        "spec.training.batchSize": batch,
        "spec.pools": [{**pool, "name": f"p{at}"} for at, pool in enumerate(pools)],
    },
    pools,
    figures,
    st.sampled_from([None, MINILM, LLAMA | {"numLayers": 4}]),
    st.sampled_from(["0", "0.1"]),
    st.sampled_from(["Relay", "Direct"]),
    st.sampled_from([4, 32]),
).map(spec_of)


@given(specs)
def test_what_is_chosen_fits_and_is_not_refused(spec: JobSpec) -> None:
    known = declared(spec)
    rows = [row for row in TABLE if row.suits(situation_of(spec, known))]
    if all(fault(with_row(spec, row)) for row in rows):
        with pytest.raises(InvalidSpec, match="Auto finds no method"):
            choose(spec, known)
        return
    choice = choose(spec, known)
    assert fault(choice.spec) is None
    rooms = {pool.name: pool for pool in choice.spec.pools}
    for kind in demand_of(choice.spec).kinds:
        asked = rooms[kind.pool].accelerator
        memory = kind.memory_bytes if asked is None else kind.devices and kind.devices.memory_bytes
        assert not memory or kind.candidates[-1].peak_bytes <= memory


def test_a_job_that_no_method_fits_says_what_to_raise() -> None:
    with pytest.raises(InvalidSpec) as refused:
        chosen({**auto(), "spec.pools": [cpus("512Mi")]})
    assert str(refused.value) == (
        "spec.method.type: Auto finds no method for this job; SPSA: a step of pool cpu takes "
        "943.7 MiB, and spec.pools[0].resources.memory is 512 MiB; raise it"
    )


def test_a_rule_keeps_a_method_out() -> None:
    edits = {**REACHED["thin lines"], "spec.adapter.lora.dropout": "0.1"}
    assert chosen(REACHED["thin lines"]).row.method == "SPSA"
    assert chosen(edits).row.method != "SPSA"


def test_a_job_that_names_its_method_is_left_alone() -> None:
    spec = spec_of({"spec.method": {"type": "SPSA"}})
    assert resolved(spec) == (spec, "")


def test_peers_of_one_site_have_its_line() -> None:
    assert declared(spec_of(auto())).line is None
    site = declared(spec_of({**auto(), "spec.network.bulk": "Direct"})).line
    assert site == Line(1e9, 0.001)
    given = declared(spec_of({**auto(bandwidthMbps="50"), "spec.network.bulk": "Direct"})).line
    assert given == Line(50e6, 0.001)
    given = declared(spec_of(auto(bandwidthMbps="50", latencyMilliseconds="3"))).line
    assert given == Line(50e6, 0.003)


def test_a_step_is_estimated_by_model_batch_and_pool() -> None:
    def step(**edits: Any) -> float:
        spec = spec_of({**auto(), **{name.replace("_", "."): v for name, v in edits.items()}})
        return Figures().slowest_step(spec)

    one = step(spec_pools=[cpus("4Gi")])
    assert step(spec_pools=[cpus("4Gi", "2")]) == pytest.approx(one / 2)
    assert step(spec_pools=[cpus("4Gi"), on(1)]) == pytest.approx(one)
    assert step(spec_pools=[on(1)]) < one / 100
    assert step(spec_training_batchSize=64, spec_pools=[cpus("4Gi")]) == pytest.approx(2 * one)


def job_with(edits: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Job | Invalid:
    body = edited(edits)
    body["metadata"] |= {"uid": "0123456789abcdef", "generation": 1}
    return job_from({**body, "status": dict(status or {})})


def status_after_a_pass(job: Job | Invalid) -> Mapping[str, Any]:
    status = decide(Snapshot(job=job, now=NOW, nodes=NODES), SETTINGS).actions.status
    assert status is not None
    return status


def test_peers_are_told_and_the_status_records_what_was_chosen() -> None:
    job = job_with(REACHED["slow lines"])
    assert isinstance(job, Job)
    file = job_file(job)
    assert file.method.type == "DecLoRA"
    assert file.method.settings["codec"] == "Int8"
    assert file.method.reason == job.method_reason != ""
    written = status_after_a_pass(job)["method"]
    assert (written["type"], written["reason"]) == ("DecLoRA", job.method_reason)
    assert written["rounds"] == file.training.rounds == 5
    assert json.loads(written["settings"]) == {"localSteps": 40, "codec": "Int8"}


@pytest.mark.parametrize(
    ("name", "rounds", "period"),
    [("otherwise", 20, 5), ("slow lines", 5, 1), ("fast lines", 50, 12), ("thin lines", 25, 6)],
)
def test_a_method_makes_as_many_rounds_as_come_to_the_same_compute(
    name: str, rounds: int, period: int
) -> None:
    spec = chosen(REACHED[name]).spec
    assert spec.training.rounds == rounds
    assert spec.checkpoint.period_rounds == spec.evaluation.period_rounds == period
    most = chosen({**REACHED[name], "spec.training.rounds": 10**6}).spec
    assert JobSpec.model_validate(most.model_dump(by_alias=True)) == most, "bounds hold"


def test_a_choice_stands_though_pools_change() -> None:
    first = job_with(REACHED["otherwise"])
    assert isinstance(first, Job)
    written = status_after_a_pass(first)
    shrunk = {**REACHED["otherwise"], "spec.pools": [cpus("955Mi")]}
    anew, again = job_with(shrunk), job_with(shrunk, written)
    assert isinstance(anew, Job)
    assert isinstance(again, Job)
    assert anew.spec.method["type"] == "SPSA"
    assert again.spec.method == first.spec.method
    assert again.spec.training == first.spec.training
    assert again.spec.checkpoint == first.spec.checkpoint
    assert again.method_reason == first.method_reason


@pytest.mark.parametrize(
    "method",
    [
        {"type": "DecLoRA", "settings": "{", "rounds": 5, "reason": "x"},
        {"type": "DecLoRA", "settings": "[1]", "rounds": 5, "reason": "x"},
        {"type": "Nonsense", "settings": "{}", "rounds": 5, "reason": "x"},
        {"type": "DecLoRA", "settings": '{"localSteps": 0}', "rounds": 5, "reason": "x"},
        {"type": "DecLoRA", "settings": "{}", "rounds": "many", "reason": "x"},
        {"type": "DecLoRA", "settings": "{}", "reason": "x"},
        {"type": "DecLoRA"},
        "DecLoRA",
        None,
    ],
)
def test_a_damaged_record_is_made_anew(method: Any) -> None:
    spec = spec_of(REACHED["thin lines"])
    assert resolved(spec, {"method": method}) == resolved(spec)
    assert resolved(spec)[0].method["type"] == "SPSA"


def test_a_job_that_names_its_method_records_nothing() -> None:
    assert "method" not in status_after_a_pass(a_job())


def test_settings_of_an_open_method_are_nobodys() -> None:
    with pytest.raises(InvalidSpec, match="to be chosen"):
        settings_of(spec_of(auto()))
