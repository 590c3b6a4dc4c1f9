"""``parse_spec`` against the tables that the API server is run against, too."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from address_cases import ADDRESS_CASES
from auto_cases import AUTO_CASES
from d2ft_cases import D2FT_CASES
from dataset_cases import DATASET_CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from job_cases import BASE, RULE_CASES, Case, bound_cases, edited
from method_cases import METHOD_CASES
from pool_cases import POOL_CASES

from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.parse import method_choice, parse_spec
from haversack_trainer.contract.cards import METHODS

LORA = "spec.method.decLoRA"
LISTED = {f"{LORA}.graph": "Edges"}
CASES = [
    *RULE_CASES,
    *ADDRESS_CASES,
    *DATASET_CASES,
    *METHOD_CASES,
    *AUTO_CASES,
    *D2FT_CASES,
    *POOL_CASES,
    *bound_cases(),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_side_of_each_rule_and_bound_is_accepted(case: Case) -> None:
    parse_spec(edited(case.accepted))
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(edited(case.rejected))
    sentence = str(refused.value)
    assert case.says in sentence
    assert "\n" not in sentence
    assert sentence.startswith(("spec", "metadata.name"))


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        ({"spec.trainin": {}}, "spec.trainin: there is no such field; did you mean training?"),
        ({"spec.training.rounds": 0}, "spec.training.rounds: must be at least 1, is 0"),
        ({"spec.model": {"uri": "hf://a/b"}}, "spec.model.task: is missing; it says: What the"),
        ({"spec.method.type": "Fed"}, "spec.method.type: there is no method 'Fed'; write D2FT"),
        (
            {"spec.method": {}},
            "spec.method.type: is missing; write D2FT or DecLoRA or DropPEFT or FlexDeMo or SPSA",
        ),
        ({"spec.method.type": ["SPSA"]}, "spec.method.type: there is no method ['SPSA']"),
        ({"spec.method.decLoRA": {"step": 3}}, "spec.method.decLoRA.step: there is no such field"),
        ({"spec.method.decLoRA": 3}, "spec.method.decLoRA: must be an object, is 3"),
        (
            LISTED | {f"{LORA}.edges": ["0-1", "1-2"]},
            f"{LORA}.edges: 1-2 names peer 2, but the job's",
        ),
        (
            LISTED | {f"{LORA}.edges": ["1-1", "0-1"]},
            f"{LORA}.edges: 1-1 leads from a peer to itself",
        ),
        (
            LISTED | {f"{LORA}.edges": ["0-1"], "spec.pools[].peers.replicas": 3},
            f"{LORA}.edges: do not connect peer 2 with peer 0; add an edge",
        ),
        (
            {
                "spec.method": {"type": "D2FT", "d2FT": {"sharding": "Groups", "devices": [2, 1]}},
                "spec.pools[].processes": 3,
            },
            "spec.method.d2FT.devices: names 2, and a peer has 3 processes to share groups out to",
        ),
        ({"spec.pools[].peers.replicas": "4"}, "spec.pools[0].peers.replicas: must be a whole"),
        ({"spec.pools[].name": "Edge"}, "spec.pools[0].name: must be lower-case letters, digits"),
        ({"spec.pools[].resources.cpu": "two"}, "spec.pools[0].resources.cpu: write 1m to 100000"),
        ({"spec.adapter.lora.dropout": "5 %"}, "spec.adapter.lora.dropout: must be a decimal"),
        ({"spec.pools[].name": "x" * 999_999}, "spec.pools[0].name: must have at most 20"),
        ({"spec.suspend": b"yes"}, "spec: Object of type bytes is not JSON serializable; put"),
        ({"kind": "Job"}, "kind: must be FineTuneJob, is 'Job'"),
        ({"apiVersion": None}, "apiVersion: must be haversack.dev/v1alpha1, is None"),
        ({"metadata": {}}, "metadata.name: names of pods"),
        ({"spec": []}, "spec: is missing"),
    ],
)
def test_the_message_names_the_field_and_what_to_change(
    edits: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(edited(edits))
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("body", [None, [], "kind: FineTuneJob", {}])
def test_what_is_no_manifest_is_refused(body: Any) -> None:
    with pytest.raises(InvalidSpec):
        parse_spec(body)


def test_a_deep_manifest_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"spec": deep}
    with pytest.raises(InvalidSpec, match="nested too deeply"):
        parse_spec(edited({"spec.suspend": deep}) | {"spec": deep})


def test_null_is_absent() -> None:
    spec = parse_spec(edited({"spec.placement": None, "spec.training.seed": None}))
    assert spec == parse_spec(BASE)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from(sorted(BASE["spec"])),
)
def test_any_value_anywhere_is_either_a_spec_or_a_sentence(value: Any, field: str) -> None:
    sentence = "spec"
    try:
        parse_spec(BASE | {"spec": BASE["spec"] | {field: value}})
    except InvalidSpec as refused:
        sentence = str(refused)
    assert sentence.startswith("spec")


@pytest.mark.parametrize("card", METHODS.values(), ids=lambda card: card.type)
def test_a_method_without_its_member_has_the_defaults(card: Any) -> None:
    choice = method_choice(parse_spec(edited({"spec.method": {"type": card.type}})))
    settings = card.load_settings()
    assert choice.type == card.type
    assert settings.model_validate(choice.settings) == settings()


def test_settings_reach_the_job_file_as_the_trainer_reads_them() -> None:
    spec = parse_spec(edited({"spec.method": {"type": "SPSA", "spsa": {"directions": 3}}}))
    assert method_choice(spec).settings["directions"] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"graph": "Complete", "robust": {"numFaulty": 0}},
        {"graph": "Edges", "edges": ["0-1"], "robust": {"numFaulty": 0}},
        {"mixer": "FFA", "privacy": {"clip": "1", "noiseMultiplier": "1"}},
    ],
)
def test_no_torch_is_imported(settings: dict[str, object]) -> None:
    code = (
        "import json, sys; from haversack_operator.api import crd, parse; crd.definitions();"
        "parse.parse_spec(json.load(sys.stdin)); sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    job = edited({"spec.method": {"type": "DecLoRA", "decLoRA": settings}})
    subprocess.run(command, input=json.dumps(job), text=True, check=True, timeout=60)


def test_a_member_in_other_letters_is_named() -> None:
    with pytest.raises(InvalidSpec, match=r"'d2ft' does not go with type D2FT; write d2FT"):
        parse_spec(edited({"spec.method": {"type": "D2FT", "d2ft": {}}}))
