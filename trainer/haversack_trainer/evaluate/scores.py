"""Held-out loss of each sample, under the adapter that the model has at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from haversack_trainer.contract.report import Evaluation
from haversack_trainer.data import Samples
from haversack_trainer.model import FineTuned

RELOAD_TOLERANCE: Final = 1e-3
"""Most that the mean loss of the published bytes may differ from the loss that was judged."""


class EvaluateError(Exception):
    """What was to be published is not what was judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One adapter on the held-out set."""

    evaluation: Evaluation
    losses: NDArray[np.float64]
    """``[n]``, in the order of the held-out samples, so that two scores can be paired."""


@torch.no_grad()
def evaluate(model: FineTuned, held_out: Samples, batch_size: int, round: int) -> Scores:
    """Losses of all held-out samples. A loss that is not finite stays so."""
    losses: list[torch.Tensor] = []
    hits: list[torch.Tensor] = []
    was_training = model.is_training
    model.train(False)
    try:
        for start in range(0, len(held_out), batch_size):
            chosen = np.arange(start, min(start + batch_size, len(held_out)))
            loss, hit = model.losses(model.encode(held_out, chosen))
            losses.append(loss.cpu())
            if hit is not None:
                hits.append(hit.cpu())
    finally:
        model.train(was_training)
    all_losses = torch.cat(losses).double().numpy()
    accuracy = float(torch.cat(hits).double().mean()) if hits else None
    evaluation = Evaluation(
        round=round, loss=float(all_losses.mean()), accuracy=accuracy, num_samples=len(held_out)
    )
    return Scores(evaluation, all_losses)


def check_reload(
    model: FineTuned, folder: Path, held_out: Samples, batch_size: int, judged: Scores
) -> None:
    """Load the adapter from the folder's bytes and see that it is the one that was judged.

    Raises ``EvaluateError`` if its loss differs, ``ModelError`` if it cannot be loaded.
    """
    with model.with_adapter(folder):
        again = evaluate(model, held_out, batch_size, judged.evaluation.round)
    gap = abs(again.evaluation.loss - judged.evaluation.loss)
    if not gap <= RELOAD_TOLERANCE:
        raise EvaluateError(
            f"the adapter written to {folder} has held-out loss {again.evaluation.loss:.4f}, "
            f"but {judged.evaluation.loss:.4f} was judged; it is not published"
        )
