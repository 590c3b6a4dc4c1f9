"""All methods side by side: the same model, data and peers, and about the same compute.

Four peers teach MiniLM to tell from a docstring which family of Python's standard library it comes from; classes are
spread unevenly (Dirichlet 0.5). Each peer may compute as much as 28 plain steps of 16 samples do; with layers left out it takes
more steps, with forward passes only a step counts half. An arm is a process of its own, in which all peers take turns over a log in
memory. Learning rates are the demo's and, for signs, a tenth of it; they were not searched for. ``--steps 2`` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import Any, Final

from bench.figures import RESULTS, commit, write
from bench.together import Scale, Stage

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.traffic import Work

SEED: Final = 17
PEERS: Final = 4
ALPHA: Final = "0.5"
BATCH_SIZE: Final = 16
STEPS: Final = 28
MIB: Final = 1024
"""ru_maxrss is in KiB."""


ARMS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "D2FT": (
        "D2FT",
        {"microBatches": 4, "gossip": {"localSteps": 4, "learningRate": "0.005"}},
    ),
    "DecLoRA": ("DecLoRA", {"localSteps": 4, "learningRate": "0.005"}),
    "DropPEFT": ("DropPEFT", {"localSteps": 4, "learningRate": "0.005", "dropRate": "0.33"}),
    "FlexDeMo, signs": ("FlexDeMo", {"learningRate": "0.0005", "beta": "0.9"}),
    "FlexDeMo, Full AdamW": (
        "FlexDeMo",
        {"scheme": "Full", "update": "AdamW", "learningRate": "0.005"},
    ),
    "SPSA": ("SPSA", {"directions": 1, "pointsPerPass": 2, "learningRate": "0.002"}),
}
"""Method and settings."""


def num_rounds(arm: str, steps: int) -> int:
    """As many as a peer can compute in so many plain steps, by the method's own forecast."""
    card = METHODS[ARMS[arm][0]]
    settings = card.load_settings().model_validate(ARMS[arm][1])
    a_round = card.load_forecast().a_round(settings, Work(1, num_layers=6, num_peers=PEERS))
    return max(1, round(steps / a_round.steps))


def measured(arm: str, steps: int) -> dict[str, Any]:
    """Of one arm, in this process."""
    import torch

    torch.set_num_threads(1)
    rounds = num_rounds(arm, steps)
    scale = Scale(PEERS, rounds, local_steps=0, batch_size=BATCH_SIZE, period=rounds)
    found = Stage.of(scale, SEED, ALPHA).run_as_set(*ARMS[arm])
    return {
        "settings": ARMS[arm][1],
        "rounds": rounds,
        "loss": found["loss"][rounds],
        "accuracy": found["accuracy"][rounds],
        "sent_bytes_per_peer": round(sum(found["bytes_a_round"]) / PEERS),
        "cpu_seconds": found["cpu_seconds"],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB),
    }


def apart(arm: str, steps: int) -> dict[str, Any]:
    """Of one arm, in a process of its own."""
    command = [sys.executable, "-m", "bench.choosing", "--here", arm, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "steps": steps, "commit": commit()}


def measured_before() -> dict[str, Any]:
    """Rows that are there already, with the settings of now, each with the commit that it was measured at."""
    path = RESULTS / "choosing.json"
    if not path.is_file():
        return {}
    result = json.loads(path.read_text())
    figures = result["figures"]
    same = {
        arm: row for arm, row in figures.items() if arm in ARMS and row["settings"] == ARMS[arm][1]
    }
    shared = {"steps": figures.get("steps"), "commit": result["commit"]}
    return {arm: {**shared, **row} for arm, row in same.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--arms",
        nargs="*",
        choices=ARMS,
        default=list(ARMS),
        help="only these; the others' figures stay as they are in the result file",
    )
    parser.add_argument("--here", choices=ARMS, help="this one, in this process; no result file")
    chosen = parser.parse_args()
    if chosen.here:
        print(json.dumps(measured(chosen.here, chosen.steps)))
        return
    for arm in chosen.arms:
        # Written at once, so that a run that is cut off keeps what it has.
        row = apart(arm, chosen.steps)
        rows = {**measured_before(), arm: row}
        ordered = {arm: rows[arm] for arm in ARMS if arm in rows}
        write("choosing", {"peers": PEERS, "batch_size": BATCH_SIZE, **ordered})


if __name__ == "__main__":
    main()
