"""What the demo runs: a job for each method, and the machines that this one pretends to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from . import minilm

NAME: Final = "demo"
NODES: Final[list[dict[str, Any]]] = [
    {"name": "gpu-a", "cpu": 8, "memory": "64Gi", "accelerator": {"count": 2, "memory": "24Gi"}},
    {"name": "gpu-b", "cpu": 2, "memory": "4Gi", "accelerator": {"count": 1, "memory": "10Gi"}},
    {"name": "arm-a", "architecture": "arm64", "cpu": 4, "memory": "16Gi"},
    {
        "name": "jetson-a",
        "architecture": "arm64",
        "cpu": 6,
        "memory": "8Gi",
        "accelerator": {"count": 1, "unified": True},
        "taints": [{"key": "edge", "effect": "NoSchedule"}],
    },
]
UNPLUGGED: Final = "gpu-b"
"""The node that goes half-way; gpu-a has room for its peer."""
POOLS: Final[list[dict[str, Any]]] = [
    {
        "name": "gpu",
        "architecture": "amd64",
        "peers": {"replicas": 2},
        "accelerator": {"count": 1, "memory": "8Gi"},
        "resources": {"cpu": "1", "memory": "2Gi"},
    },
    {
        "name": "arm",
        "architecture": "arm64",
        "peers": {"replicas": 1},
        "resources": {"cpu": "1", "memory": "2Gi"},
    },
    {
        "name": "jetson",
        "architecture": "arm64",
        "peers": {"replicas": 1},
        "accelerator": {"count": 1, "memory": "1Gi"},
        "resources": {"cpu": "1", "memory": "2Gi"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
    },
]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A method's own numbers, so that the demo stays under five minutes on two cores."""

    settings: dict[str, Any]
    rounds: int
    batch_size: int
    max_length: int
    tolerance: str
    """Of the gate."""
    expectation: str
    """What a person may expect of so short a run."""


RECIPES: Final = {
    "DecLoRA": Recipe(
        settings={
            "type": "DecLoRA",
            "decLoRA": {"localSteps": 2, "learningRate": "0.005", "graph": "Ring"},
        },
        rounds=64,
        batch_size=16,
        max_length=32,
        tolerance="0",
        expectation="about 70 % on held-out docstrings, after 128 steps of 16 samples at each peer; the "
        "linear probe has seen all data in one place, which no peer here has",
    ),
    "SPSA": Recipe(
        settings={
            "type": "SPSA",
            "spsa": {"directions": 4, "learningRate": "0.002", "scaleWithPeers": False},
        },
        rounds=40,
        batch_size=16,
        max_length=32,
        tolerance="0.01",
        expectation="no harm (the gate's tolerance is 0.01) and next to no bytes: SPSA needs thousands of "
        "its cheap rounds to learn, and forty of them show how it works",
    ),
}


def job(method: str, data: Path, store: Path) -> dict[str, Any]:
    """The FineTuneJob."""
    recipe = RECIPES[method]
    period = max(1, recipe.rounds // 5)
    return {
        "apiVersion": "haversack.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": f"{NAME}-{method.lower()}"},
        "spec": {
            "model": {
                "uri": f"file://{minilm.folder()}",
                "task": "SequenceClassification",
                "footprint": {
                    "parameters": minilm.PARAMETERS,
                    "hiddenSize": minilm.HIDDEN_SIZE,
                    "numLayers": minilm.NUM_LAYERS,
                },
            },
            "dataset": {
                "uri": f"file://{data.resolve()}",
                "maxLength": recipe.max_length,
                "partition": {"type": "Dirichlet", "alpha": "0.3"},
                "heldOut": {"percent": 23, "maxSamples": 600},
            },
            "adapter": {"lora": {"rank": 8, "alpha": 16}},
            "method": recipe.settings,
            "training": {"rounds": recipe.rounds, "batchSize": recipe.batch_size},
            "pools": POOLS,
            "placement": {"minPeers": 4},
            "elasticity": {"heartbeatTimeoutSeconds": 10},
            "storage": {"uri": f"file://{store.resolve()}"},
            "checkpoint": {"periodRounds": period},
            "evaluation": {
                "periodRounds": recipe.rounds // 2,
                "gate": {"tolerance": recipe.tolerance},
            },
            "reporting": {"periodSeconds": 2},
        },
    }


def write(method: str, folder: Path, data: Path, store: Path) -> tuple[Path, Path]:
    """The job's file and the inventory's."""
    files = folder / f"{method.lower()}.yaml", folder / "nodes.yaml"
    for file, body in zip(files, (job(method, data, store), {"nodes": NODES}), strict=True):
        file.write_text(yaml.safe_dump(body, sort_keys=False))
    return files
