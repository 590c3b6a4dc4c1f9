"""What privacy and robust averages ask of the rest of a job is refused by both sides, in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from job_cases import edited

from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.parse import parse_spec
from haversack_trainer.config import ConfigError, load_peer
from haversack_trainer.contract import environment as env

PRIVATE: dict[str, Any] = {"mixer": "FFA", "privacy": {}}
SCORED = {"spec.dataset.heldOut.personalPercent": 20}


def by_trainer(settings: dict[str, Any], folder: Path, **job: Any) -> str | None:
    path = folder / "job.json"
    path.write_text(
        json.dumps(
            {
                "run": "ns.job.12345678",
                "job": "job",
                "model": {"uri": "hf://owner/name", "task": "SequenceClassification"},
                "dataset": {"uri": "s3://corpus/support", **job.get("dataset", {})},
                "method": {"type": "DecLoRA", "settings": settings},
                "storage": {"uri": "s3://bucket/runs"},
                "numPeers": 3,
                "minPeers": job.get("minPeers", 3),
            }
        )
    )
    try:
        load_peer({env.JOB_FILE: str(path), env.PEER: "0", env.HUB_URL: "https://hub:1/"})
    except ConfigError as error:
        return str(error).removeprefix("method.settings.")
    return None


def by_operator(settings: dict[str, Any], **edits: Any) -> str | None:
    method = {"spec.method": {"type": "DecLoRA", "decLoRA": settings}}
    try:
        parse_spec(edited({"spec.pools[].peers.replicas": 3, **method, **edits}))
    except InvalidSpec as error:
        return str(error).removeprefix("spec.method.decLoRA.")
    return None


def test_a_private_peer_does_not_tell_how_it_does_on_its_own_samples(tmp_path: Path) -> None:
    scored = {"heldOut": {"personalPercent": 20}}
    told = by_trainer(PRIVATE, tmp_path, dataset=scored)
    assert told == by_operator(PRIVATE, **SCORED)
    assert told is not None
    assert told.startswith("privacy: does not go with dataset.heldOut.personalPercent")
    for settings, dataset, edits in ((PRIVATE, {}, {}), ({}, scored, SCORED)):
        assert by_trainer(settings, tmp_path, dataset=dataset) is None
        assert by_operator(settings, **edits) is None


def test_a_first_round_beyond_the_budget_is_refused(tmp_path: Path) -> None:
    settings = PRIVATE | {"privacy": {"maxEpsilon": "1"}}
    told = by_trainer(settings, tmp_path)
    assert told == by_operator(settings)
    assert told is not None
    assert told.startswith("privacy.maxEpsilon: is 1, but the first round already spends")


@pytest.mark.parametrize(("least", "works"), [(3, True), (2, False)])
def test_a_robust_average_needs_peers_enough_to_be_left(
    least: int, works: bool, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"robust": {}}
    told = by_trainer(settings, tmp_path, minPeers=least)
    assert told == by_operator(settings, **{"spec.placement.minPeers": least})
    assert (told is None) == works
    assert works or "robust.numFaulty: TrimmedMean withstands 1 of 3 or more" in (told or "")


def test_gradients_of_groups_are_not_by_sample() -> None:
    gossip = {**PRIVATE, "privacy": {"unit": "Sample"}}
    method = {"type": "D2FT", "d2FT": {"gossip": gossip}}
    with pytest.raises(InvalidSpec, match=r"gossip\.privacy\.unit: gradients of groups"):
        parse_spec(edited({"spec.method": method}))


def test_what_d2fts_peers_exchange_is_refused_by_its_place() -> None:
    for gossip, edits, told in (
        (PRIVATE, SCORED, r"d2FT\.gossip\.privacy: does not go with"),
        ({"robust": {}}, {"spec.placement.minPeers": 2}, r"d2FT\.gossip\.robust\.numFaulty: "),
    ):
        method = {"type": "D2FT", "d2FT": {"gossip": gossip}}
        with pytest.raises(InvalidSpec, match=told):
            parse_spec(edited({"spec.method": method, "spec.pools[].peers.replicas": 3, **edits}))
