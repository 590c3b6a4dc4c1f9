"""All methods side by side: the same model, data and peers, and about the same compute.

Four peers teach MiniLM to tell from a docstring which family of Python's standard library it comes from; classes are
spread unevenly (Dirichlet 0.5). Each peer may compute as much as 28 plain steps of 16 samples do; with layers left out it takes
more steps, with forward passes only a step counts half. A method is a process of its own, in which all peers take turns over a log in
memory. Learning rates are the demo's and, for signs, a third of it; they were not searched for. ``--steps 2`` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.figures import write
from bench.together import Scale, Stage
from examples.demo import corpus

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.traffic import Work

SEED: Final = 17
PEERS: Final = 4
ALPHA: Final = "0.5"
BATCH_SIZE: Final = 16
STEPS: Final = 28
MIB: Final = 1024
"""ru_maxrss is in KiB."""


ARMS: Final[dict[str, dict[str, Any]]] = {
    "DecLoRA": {"localSteps": 4, "learningRate": "0.005"},
    "DropPEFT": {"localSteps": 4, "learningRate": "0.005", "dropRate": "0.33"},
    "FlexDeMo": {"learningRate": "0.0015", "beta": "0.9"},
    "SPSA": {"directions": 1, "pointsPerPass": 2, "learningRate": "0.002"},
}


def num_rounds(method: str, steps: int) -> int:
    """As many as a peer can compute in so many plain steps, by the method's own forecast."""
    card = METHODS[method]
    settings = card.load_settings().model_validate(ARMS[method])
    a_round = card.load_forecast().a_round(settings, Work(1, num_layers=6, num_peers=PEERS))
    return max(1, round(steps / a_round.steps))


def measured(method: str, steps: int) -> dict[str, Any]:
    """Of one method, in this process."""
    import torch

    torch.set_num_threads(1)
    rounds = num_rounds(method, steps)
    scale = Scale(PEERS, rounds, local_steps=0, batch_size=BATCH_SIZE, period=rounds)
    with TemporaryDirectory() as name:
        data = Path(name, "docstrings.jsonl")
        corpus.write(data)
        found = Stage.of(data, scale, SEED, ALPHA).run_as_set(method, ARMS[method])
    return {
        "settings": ARMS[method],
        "rounds": rounds,
        "loss": found["loss"][rounds],
        "accuracy": found["accuracy"][rounds],
        "sent_bytes_per_peer": round(sum(found["bytes_a_round"]) / PEERS),
        "cpu_seconds": found["cpu_seconds"],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", choices=ARMS, help="this method, here, without a result file")
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(measured(chosen.only, chosen.steps)))
        return
    figures: dict[str, Any] = {"peers": PEERS, "batch_size": BATCH_SIZE, "steps": chosen.steps}
    for method in ARMS:
        command = [sys.executable, "-m", "bench.choosing", "--only", method]
        command += ["--steps", str(chosen.steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures[method] = json.loads(done.stdout.splitlines()[-1])
        print(method, figures[method], flush=True)
    write("choosing", figures)


if __name__ == "__main__":
    main()
