"""A peer of NVFlare's peer-to-peer consensus: its executor exchanges and its weights mix, the local steps are those of
``bench.rivals.peer``. Loaded by NVFlare's client, in its own virtual environment, as the job of ``bench.nvflare_ring`` says.

What NVFlare has itself for training is ``DGDExecutor``: one plain gradient step an exchange. So its exchange is compared, not its
training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.rivals.peer import Peer
from nvflare.apis.dxo import DXO, DataKind
from nvflare.app_opt.p2p.executors.sync_executor import SyncAlgorithmExecutor
from nvflare.fuel.utils import fobs
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Tensor]


class Ring(SyncAlgorithmExecutor):  # type: ignore[misc]  # NVFlare is not installed where mypy runs
    """Local steps, then the weighted mean of the own state and the neighbours', round by round."""

    def __init__(self, folder: str, sync_timeout: int) -> None:
        super().__init__(sync_timeout)
        self._folder = Path(folder)
        self._sent_bytes = 0

    def run_algorithm(self, fl_ctx: Any, _shareable: Any, abort_signal: Any) -> None:
        own = self.id - 1
        peer = Peer(self._folder, own, keeps_moments=True)
        for number in range(peer.task["rounds"]):
            peer.train(number)
            self._exchange_values(fl_ctx, value=peer.state(), iteration=number)
            if abort_signal.triggered:
                return
            peer.load(self._mixed(peer.state(), number))
            save_file(peer.state(), self._folder / f"state-{own}-{number + 1}.safetensors")
        figures = {"local_cpu_seconds": peer.local_cpu_seconds, "sent_bytes": self._sent_bytes}
        (self._folder / f"figures-{own}.json").write_text(json.dumps(figures))

    def _mixed(self, state: State, round: int) -> State:
        heard = self.neighbors_values.pop(round)
        return {
            name: own * self._weight
            + sum(heard[other.id][name] * other.weight for other in self.neighbors)
            for name, own in state.items()
        }

    def _to_message(self, x: State) -> dict[str, np.ndarray[Any, Any]]:
        arrays = {name: values.numpy() for name, values in x.items()}
        if not self._sent_bytes:
            whole = DXO(data_kind=DataKind.WEIGHTS, data={"value": arrays}).to_shareable()
            self._sent_bytes = len(fobs.dumps(whole)) * len(self.neighbors)
        return arrays

    def _from_message(self, x: dict[str, np.ndarray[Any, Any]]) -> State:
        return {name: torch.from_numpy(values) for name, values in x.items()}
