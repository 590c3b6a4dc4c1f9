"""Save and resume a 100 MB state, in a folder and in S3: ``python -m bench.checkpoint_time [MB]``."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from bench.figures import spread, write
from bench.servers import s3

from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.checkpoint.states import load, newest, save
from haversack_trainer.checkpoint.tensors import decode_state, encode_state
from haversack_trainer.contract.membership import Identity
from haversack_trainer.objects.base import Store
from haversack_trainer.objects.opening import open_store

REPEATS = 7
RUN = "bench.state.00000000"
META = Meta(
    run=RUN,
    method="none",
    base_model="none",
    identity=Identity(base_model="", adapter="", trainables="", method="", seed="", data=""),
)
T = TypeVar("T")


def main() -> None:
    """Measure both stores in turns, so that a busy moment hits both."""
    num_mb = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    state = a_state(num_mb)
    with (
        tempfile.TemporaryDirectory(prefix="haversack-bench-") as name,
        s3(Path(name)) as (server, _),
    ):
        stores = {
            "file": open_store(f"file://{name}/store"),
            server.name: open_store(f"s3://{server.bucket}/bench", server.spec, server.environ),
        }
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in stores}
        for round_ in range(REPEATS):
            for kind, store in stores.items():
                runs[kind].append(measure(store, round_, state))
    figures = {
        kind: {name: spread([run[name] for run in found]) for name in found[0]}
        for kind, found in runs.items()
    }
    write("checkpoint_time", {"state_mb": num_mb, "seconds": figures})


def a_state(num_mb: int) -> dict[str, Any]:
    """AdamW's for an adapter: two moments of the same size."""
    half = torch.randn(num_mb * 1_000_000 // 8, generator=torch.Generator().manual_seed(17))
    return {"step": 100, "exp_avg": {0: half}, "exp_avg_sq": {0: half.square()}}


def measure(store: Store, round: int, state: dict[str, Any]) -> dict[str, float]:
    """Seconds of each part."""
    encode, data = timed(lambda: encode_state(state | {"step": round}))
    put, ref = timed(lambda: save(store, round, {"state-0.safetensors": data}, META))
    find, found = timed(lambda: newest(store, RUN))
    if found != ref:
        raise SystemExit(f"the newest checkpoint is {found}, not {ref}")
    get, (files, _) = timed(lambda: load(store, ref))
    decode, _ = timed(lambda: decode_state(files["state-0.safetensors"]))
    return {"encode": encode, "save": put, "find_newest": find, "load": get, "decode": decode}


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """Seconds and outcome."""
    began = time.perf_counter()
    outcome = act()
    return time.perf_counter() - began, outcome


if __name__ == "__main__":
    main()
