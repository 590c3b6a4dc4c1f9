"""What a linear classifier on the frozen encoder reaches: the reference for a head that is new.

An untrained head is easy to beat; an adapter is worth its bytes only if it beats this too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from haversack_trainer.contract.report import Evaluation
from haversack_trainer.data import Samples
from haversack_trainer.model import FineTuned

MAX_SAMPLES: Final = 2000
"""Training samples that the probe sees at most: more change its figures little."""
RIDGE: Final = 1e-2
"""Best of 1e-4 to 1e-1 on 2,188 docstrings with MiniLM: the reference should be a strong one."""
_BATCH: Final = 32


def probe(model: FineTuned, training: Samples, held_out: Samples, seed: int) -> Evaluation | None:
    """Held-out figures of a logistic regression on the base encoder's mean-pooled features; None where
    the head is not new. Deterministic in ``seed``, which chooses the training samples used."""
    if not model.head_is_new:
        return None
    chosen = np.random.default_rng(seed).permutation(len(training))[:MAX_SAMPLES]
    seen, was_training = training.take(np.sort(chosen)), model.is_training
    model.train(False)
    try:
        with model.without_adapter():
            features, judged = _features(model, seen), _features(model, held_out)
    finally:
        model.train(was_training)
    targets = torch.as_tensor(seen.labels)
    centre, scale = features.mean(0), features.std(0, unbiased=False).clamp(min=1e-6)
    weight = _fit((features - centre) / scale, targets, len(training.classes))
    logits = _affine((judged - centre) / scale, weight)
    right = torch.as_tensor(held_out.labels)
    return Evaluation(
        round=0,
        loss=float(cross_entropy(logits, right)),
        accuracy=float((logits.argmax(1) == right).double().mean()),
        num_samples=len(held_out),
    )


def _features(model: FineTuned, samples: Samples) -> torch.Tensor:
    starts = range(0, len(samples), _BATCH)
    ranges = [np.arange(start, min(start + _BATCH, len(samples))) for start in starts]
    return torch.cat([model.features(model.encode(samples, chosen)) for chosen in ranges])


def _fit(features: torch.Tensor, targets: torch.Tensor, num_classes: int) -> torch.Tensor:
    """``[features + 1, classes]``: ridge-penalised maximum likelihood by L-BFGS from zero."""
    weight = torch.zeros(features.shape[1] + 1, num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = RIDGE * weight[:-1].square().sum()
        loss = cross_entropy(_affine(features, weight), targets) + penalty
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return weight.detach()


def _affine(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return features @ weight[:-1] + weight[-1]
