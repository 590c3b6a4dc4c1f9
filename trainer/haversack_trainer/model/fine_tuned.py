"""A base model and what is trained of it or on it, as evaluation, checkpoints and loop use them.

There are two: ``AdaptedModel``, a frozen model with LoRA, and ``FullModel``, all of whose weights are trained.
Methods see less of it: ``method.Trainee``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from haversack_trainer.data import Batch, Samples
from haversack_trainer.data.samples import Indices


class FineTuned(Protocol):
    """Built by ``load.load_model``. Not safe to use from two threads."""

    fits: Callable[[int], bool]
    """Whether a step through so many layers has room here; set by who knows the job."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def head_is_new(self) -> bool:
        """True if the model came without a head for these classes: the base is then untrained."""

    @property
    def is_training(self) -> bool:
        """True while dropout is on."""

    def train(self, mode: bool = True) -> None:
        """Dropout on or off, the adapter's and the model's own."""

    def encode(self, samples: Samples, indices: Indices) -> Batch:
        """The samples at ``indices`` as tensors on the CPU. Deterministic in their content."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the samples of ``losses``: a scalar in fp32 that can be differentiated."""

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Loss of each sample ``[n]`` in fp32, for language models the mean over its tokens; and for
        classes whether each was right ``[n]``."""

    def sample_losses(self, batch: Batch) -> torch.Tensor:
        """The first half of ``losses``."""

    def losses_at(self, points: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Losses ``[p, n]`` of the samples with each row of ``points [p, d]`` as the trainables, in one pass
        over p·n samples. Raises ``ModelError`` if the model cannot do that."""

    def features(self, batch: Batch) -> torch.Tensor:
        """What the encoder makes of each sample: the last hidden state, mean over its tokens,
        ``[n, hidden size]``, on the CPU."""

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        """Canonical name (as in the published file) and parameter, sorted by name, each storage once."""

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """Copies of the trainables on the CPU, fp32, in canonical order."""

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set the trainables. Raises ``ModelError`` and changes nothing if names or shapes differ."""

    def base_digest(self) -> str:
        """sha256 over the weights that came with the model, without a head that this job itself made; hex,
        and the kind of quantisation, if any: losses differ by it."""

    def trainables_digest(self) -> str:
        """sha256 over names, shapes and bytes of the trainables; hex."""

    def adapter_text(self) -> str:
        """What is trained, in canonical order, for ``Identity.adapter``."""

    def without_adapter(self) -> AbstractContextManager[None]:
        """The base model, with a new head as it was at the start. Not to be nested."""

    def with_adapter(self, folder: Path) -> AbstractContextManager[None]:
        """What was published in ``folder`` in place of what is trained. Raises ``ModelError`` if it is not
        whole or belongs to another model."""

    def save_adapter(self, folder: Path) -> None:
        """Write what is trained as it is published; the same state gives the same bytes."""

    def update_ratios(self) -> dict[str, float]:
        """For each weight matrix that was changed the norm of its update over that of the matrix."""
