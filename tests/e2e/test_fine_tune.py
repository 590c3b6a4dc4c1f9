"""The whole of it: examples applied with kubectl, real peers on played nodes, adapters in S3."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from e2e_world import E2eWorld, condition, reason
from examples.demo import corpus, minilm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HELD_OUT = 120
TRAINING = 480


@pytest.fixture(scope="session")
def held_out(world: E2eWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model and data are in S3; the rows that the gate judges by."""
    folder = tmp_path_factory.mktemp("corpora")
    corpus.write(folder / "all.jsonl")
    rows = (folder / "all.jsonl").read_text().splitlines(keepends=True)
    (folder / "all.jsonl").unlink()
    (folder / "docstrings.jsonl").write_text("".join(rows[:TRAINING]))
    (folder / "held-out.jsonl").write_text("".join(rows[TRAINING : TRAINING + HELD_OUT]))
    world.upload(folder, "s3://corpora")
    world.upload(minilm.folder(), "s3://models/all-minilm-l6-v2")
    world.bucket("adapters")
    return folder / "held-out.jsonl"


@dataclass(frozen=True, slots=True)
class Tiny:
    """An untrained model of a thousand trainable weights, and data that is easy for it."""

    model: Path
    held_out: Path
    overrides: Mapping[str, Any]
    """What makes an example use both."""


@pytest.fixture(scope="session")
def tiny(world: E2eWorld, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    model, data = tmp_path_factory.mktemp("tiny"), tmp_path_factory.mktemp("tiny-data")
    world.upload(tiny_models.bert(model), "s3://models/tiny")
    samples = tiny_models.texts()
    assert samples.labels is not None
    named = dict(zip(samples.inputs, samples.labels, strict=True))
    rows = [{"text": text, "label": samples.classes[label]} for text, label in named.items()]
    random.Random(17).shuffle(rows)
    for name, part in (("tiny.jsonl", rows[40:]), ("tiny-held-out.jsonl", rows[:40])):
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in part))
    world.upload(data, "s3://corpora")
    world.bucket("adapters")
    overrides = {
        "model": {"uri": "s3://models/tiny"},
        "dataset": {
            "uri": "s3://corpora/tiny.jsonl",
            "maxLength": 16,
            "heldOut": {"uri": "s3://corpora/tiny-held-out.jsonl", "percent": None},
        },
        "pools": [{"name": "arm", "architecture": "arm64", "peers": {"replicas": 2}}],
        "placement": {"minPeers": 2},
        "reporting": {"periodSeconds": 1},
        "elasticity": {"heartbeatTimeoutSeconds": 6},
    }
    return Tiny(model, data / "tiny-held-out.jsonl", overrides)


SMALL: Mapping[str, Mapping[str, Any]] = {
    "dataset": {
        "maxLength": 32,
        "heldOut": {"uri": "s3://corpora/held-out.jsonl", "percent": None},
    },
    "checkpoint": {"periodRounds": 4},
    "evaluation": {"periodRounds": 8},
    "reporting": {"periodSeconds": 1},
    "elasticity": {"heartbeatTimeoutSeconds": 6},
}


def test_dec_lora_loses_a_node_on_the_way(world: E2eWorld, held_out: Path, tmp_path: Path) -> None:
    world.namespace("declora")
    training = {"rounds": 12, "batchSize": 16}
    method = {"decLoRA": {"localSteps": 4, "learningRate": "0.003"}}
    job = world.example("declora.yaml", **SMALL, training=training, method=method)
    world.apply("declora", job)
    name = job["metadata"]["name"]
    world.wait_round("declora", name, 4)
    lost = world.pods("declora", name)[f"{name}--gpu-1-0"]["spec"]["nodeName"]
    world.agent.unplug(lost)
    status = world.wait("declora", name, lambda s: condition(s, "Complete") == "True")
    replaced = world.pods("declora", name)
    assert all(pod["spec"]["nodeName"] != lost for pod in replaced.values())
    assert status["verdict"]["passed"]
    adapter = world.download(status["adapter"]["uri"], tmp_path / "adapter")
    scores = world.scores(minilm.folder(), adapter, held_out)
    assert scores["adapter"] < scores["base"]


LOSING_A_PROCESS: Mapping[str, Mapping[str, Any]] = {
    "spsa": {
        "training": {"rounds": 80, "batchSize": 16},
        "method": {"spsa": {"directions": 16, "learningRate": "0.01", "scaleWithPeers": False}},
    },
    # The tiny model has two layers, of which one may rest. Its small weights must not be dwarfed by the update (the gate
    # refuses that) where the peer that is left trains for long alone.
    "droppeft": {
        "training": {"rounds": 30, "batchSize": 16},
        "method": {
            "dropPEFT": {
                "dropRate": "0.3",
                "protect": "First",
                "localSteps": 4,
                "learningRate": "0.0012",
            }
        },
    },
}


@pytest.mark.parametrize("example", LOSING_A_PROCESS)
def test_a_process_is_lost_on_the_way(
    world: E2eWorld, tiny: Tiny, tmp_path: Path, example: str
) -> None:
    world.namespace(example)
    job = world.example(f"{example}.yaml", **tiny.overrides, **LOSING_A_PROCESS[example])
    world.apply(example, job)
    name = job["metadata"]["name"]
    world.wait_round(example, name, 8)
    world.agent.crash(f"{name}--arm-1-0")
    status = world.wait(example, name, lambda s: condition(s, "Complete") == "True")
    adapter = world.download(status["adapter"]["uri"], tmp_path / "adapter")
    scores = world.scores(tiny.model, adapter, tiny.held_out)
    assert scores["adapter"] < scores["base"]


ON_PODS: Mapping[str, Mapping[str, Any]] = {
    "flexdemo": {
        "placement": {"minPeers": 1},
        "training": {"rounds": 60, "batchSize": 16},
        "method": {"flexDeMo": {"sharding": "ZeRO1", "learningRate": "0.003"}},
    },
    "d2ft": {
        "training": {"rounds": 20, "batchSize": 20},
        "method": {
            "d2FT": {
                "sharding": "Groups",
                "gossip": {"localSteps": 4, "learningRate": "0.0006"},
            }
        },
    },
}


@pytest.mark.parametrize("example", ON_PODS)
def test_pods_of_two_processes_lose_one_on_the_way(
    world: E2eWorld, tiny: Tiny, tmp_path: Path, example: str
) -> None:
    world.namespace(example)
    pool = tiny.overrides["pools"][0] | {"processes": 2}
    changes = {**tiny.overrides, "pools": [pool], **ON_PODS[example]}
    job = world.example(f"{example}.yaml", **changes)
    world.apply(example, job)
    name = job["metadata"]["name"]
    world.wait_round(example, name, 8)
    world.agent.crash_child(f"{name}--arm-1-0", 1)
    status = world.wait(example, name, lambda s: condition(s, "Complete") == "True")
    fallen = world.agent.log_of(f"{name}--arm-1-0")
    assert "process 1 of the pod's 2 was ended by signal 9" in fallen
    adapter = world.download(status["adapter"]["uri"], tmp_path / "adapter")
    scores = world.scores(tiny.model, adapter, tiny.held_out)
    assert scores["adapter"] < scores["base"]


def test_nothing_is_published_that_did_not_pass(world: E2eWorld, tiny: Tiny) -> None:
    world.namespace("gate")
    method = {"decLoRA": {"localSteps": 5, "learningRate": "3"}}
    training = {"rounds": 2, "batchSize": 8}
    job = world.example("declora.yaml", **tiny.overrides, training=training, method=method)
    job["metadata"]["name"] = "worse"
    world.apply("gate", job)
    status = world.wait("gate", "worse", lambda s: reason(s, "Failed") == "GateFailed")
    assert not status["verdict"]["passed"]
    published = [key for key in world.keys("s3://adapters/team-a/worse") if "/adapters/" in key]
    assert published == []
    assert "team-a/worse/report.html" in world.keys("s3://adapters/team-a/worse")


def test_a_suspended_job_goes_on_where_it_was(world: E2eWorld, tiny: Tiny) -> None:
    world.namespace("pause")
    changes: dict[str, Mapping[str, Any]] = {
        "training": {"rounds": 40, "batchSize": 8},
        "method": {"decLoRA": {"localSteps": 10, "learningRate": "0.00005"}},
        "checkpoint": {"periodRounds": 3},
    }
    job = world.example("declora.yaml", **tiny.overrides, **changes)
    job["metadata"]["name"] = "pause"
    world.apply("pause", job)
    world.wait_round("pause", "pause", 6)
    world.patch("pause", "pause", {"suspend": True})
    suspended = world.wait("pause", "pause", lambda s: condition(s, "Suspended") == "True")
    world.wait("pause", "pause", lambda _: not world.pods("pause", "pause"))
    assert suspended["progress"]["round"] < 40
    world.patch("pause", "pause", {"suspend": False})
    world.wait("pause", "pause", lambda s: condition(s, "Suspended") == "False")
    started = world.wait("pause", "pause", lambda s: condition(s, "PeersReady") == "True")
    assert started["progress"]["round"] >= 3
    over = world.wait("pause", "pause", lambda s: bool({condition(s, "Complete")} & {"True"}))
    assert over["progress"]["round"] == 40
