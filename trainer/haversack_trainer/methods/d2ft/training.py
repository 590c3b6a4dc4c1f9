"""The gradient of a step by schedule: each micro-batch through the groups that its column of the table names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from haversack_trainer.blocks import Scales
from haversack_trainer.data.batches import Piece
from haversack_trainer.method import LayeredTrainee, PiecewiseBatches

from .cost import FULL, Ops, Shares, inverse_shares, op_table
from .kinds import Rescale
from .knapsack import Values
from .planner import Planner, Worth, idle_after
from .scores import ScoreMemory, normalised
from .scoring import Scorer
from .settings import Settings


class Scheduled:
    """Implements ``declora.training.Gradients``. Tables are a function of the state and the step."""

    def __init__(
        self,
        settings: Settings,
        model: LayeredTrainee,
        batches: PiecewiseBatches,
        planner: Planner,
        scorer: Scorer,
    ) -> None:
        self._settings, self._model, self._batches = settings, model, batches
        self._planner, self._scorer = planner, scorer
        self._site = planner.site
        self._memories = {
            kind: ScoreMemory(
                self._site.num_subnets, batches.num_records, float(settings.score_memory)
            )
            for kind in scorer.kinds
        }
        self._idle = np.zeros(self._site.num_subnets, np.int64)
        named = list(model.trainables())
        inside = scorer.executor.groups.layers.of_parameters(iter(named))
        self._by_layer: list[list[nn.Parameter]] = [[] for _ in range(self._site.num_layers)]
        for name, parameter in named:
            if (layer := inside.get(name)) is not None:
                self._by_layer[layer].append(parameter)
        self._figures: list[dict[str, float]] = []

    def accumulate(self, step: int) -> tuple[float, int]:
        """Of the mean over all samples, what is skipped left out."""
        pieces = self._batches.pieces(step, self._site.num_micro_batches)
        scored = 0 if step < self._settings.warm_up_steps else self._refresh(step, pieces)
        ops, before = self._table(step, pieces), self._scorer.executor.num_bytes
        loss, num_samples = self._run(ops, pieces)
        self._settle(ops)
        self._idle = idle_after(self._idle, ops)
        num_bytes = self._scorer.executor.num_bytes - before
        told = {"pod_bytes": float(num_bytes)} if num_bytes else {}
        self._figures.append(self._figures_of(ops, scored / num_samples) | told)
        return loss, num_samples

    def _table(self, step: int, pieces: Sequence[Piece]) -> Ops:
        if step < self._settings.warm_up_steps:
            return np.full((self._site.num_subnets, len(pieces)), FULL, np.int8)
        return self._planner.table(self._worth(pieces), self._idle, step)

    def _worth(self, pieces: Sequence[Piece]) -> Worth:
        records = [piece.records for piece in pieces]
        found = {kind: normalised(m.recall(records)) for kind, m in self._memories.items()}
        fixed = self._scorer.magnitudes
        backward = (
            found[self._settings.backward_score]
            if fixed is None
            else np.repeat(normalised(fixed)[:, None], len(pieces), axis=1)
        )
        forward = found[self._settings.forward_score]
        if self._settings.refresh_steps:
            bonus = float(self._settings.staleness_bonus)
            forward = forward + bonus * self._idle[:, None]
        return Worth(backward, forward, float(self._settings.backward_weight))

    def _refresh(self, step: int, pieces: Sequence[Piece]) -> int:
        """Score what is due to be scored; the number of samples that took."""
        period = self._settings.refresh_steps
        is_new = any(memory.is_empty for memory in self._memories.values())
        if not is_new and (period == 0 or step % period):
            return 0
        if period:
            return self._score(pieces)
        num_samples = 0
        while num_samples < self._batches.num_records:
            num_samples += self._score(self._batches.pieces(step, self._site.num_micro_batches))
            step += 1
        return num_samples

    def _score(self, pieces: Sequence[Piece]) -> int:
        seen = np.ones(self._site.num_subnets, bool)
        for piece in pieces:
            self._learn(self._scorer.score(piece), seen, piece)
        return sum(len(piece.records) for piece in pieces)

    def _learn(self, scores: Mapping[str, Values], seen: NDArray[np.bool_], piece: Piece) -> None:
        for kind, found in scores.items():
            self._memories[kind].learn(found, seen, piece.records)

    def _run(self, ops: Ops, pieces: Sequence[Piece]) -> tuple[float, int]:
        table, scales, total = op_table(ops, self._site.num_layers), self._scales(ops), 0.0
        num_samples = sum(len(piece.records) for piece in pieces)
        executor = self._scorer.executor
        with executor.step():
            for number, piece in enumerate(pieces):
                share = len(piece.records) / num_samples
                under = executor.under(table.groups(number), scales[number])
                with under, self._listening(share) as told:
                    total += self._pass(piece, num_samples)
                self._learn(told, ops[:, number] == FULL, piece)
        return total, num_samples

    def _scales(self, ops: Ops) -> list[Scales | None]:
        """Of each micro-batch."""
        if self._settings.rescale is Rescale.NONE:
            return [None] * ops.shape[1]
        return list(inverse_shares(ops, self._site.num_layers).tolist())

    def _pass(self, piece: Piece, num_samples: int) -> float:
        total = 0.0
        for batch in piece.batches:
            loss: Tensor = self._model.loss(batch) * (batch.num_samples / num_samples)
            if loss.requires_grad:  # not where all that is trained was cut out
                loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            total += float(loss.detach())
        return total

    def _listening(self, share: float) -> AbstractContextManager[Mapping[str, Values]]:
        """What runs in full is scored on the way, unless scores are to stay as they were."""
        if not self._settings.refresh_steps:
            return nullcontext({})
        return self._scorer.listening(share)

    @torch.no_grad()
    def _settle(self, ops: Ops) -> None:
        """A layer that never ran in full has no gradient: zeros would let AdamW move it by its old moments."""
        full = (ops == FULL).reshape(self._site.num_layers, -1).mean(axis=1)
        for share, parameters in zip(full.tolist(), self._by_layer, strict=True):
            for parameter in parameters:
                if not share:
                    parameter.grad = None
                elif self._settings.reweight and parameter.grad is not None:
                    parameter.grad /= share

    def _figures_of(self, ops: Ops, scored: float) -> dict[str, float]:
        shares = Shares.of(ops)
        return {
            "full_share": shares.full,
            "forward_only_share": shares.forward,
            "skipped_share": shares.skipped,
            "compute_share": shares.compute(self._site.costs.rho),
            "scoring_share": scored,
            "site_traffic_share": shares.traffic,
            "imbalance": self._site.imbalance(ops),
        }

    def figures(self) -> dict[str, float]:
        """Means over the steps."""
        made, self._figures = self._figures, []
        return {name: sum(one[name] for one in made) / len(made) for name in (made or [{}])[0]}

    def state_dict(self) -> dict[str, Any]:
        return {
            "idle": torch.from_numpy(self._idle),
            "scores": {str(kind): memory.state_dict() for kind, memory in self._memories.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        idle: NDArray[np.int64] = state["idle"].numpy()
        self._idle, self._figures = idle.copy(), []
        for kind, memory in self._memories.items():
            memory.load_state_dict(state["scores"][kind])
