"""The samples of a batch, where the processes of a pod share them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from haversack_trainer.sharding import World


@dataclass(frozen=True, slots=True)
class Share:
    """One process's. Every function is collective: all processes of the pod call it, in the same order."""

    world: World | None = None
    """None where there is one process."""

    def together(self, losses: Tensor) -> Tensor:
        """From the losses of a process's own samples ``[points, own]`` to those of all ``[points, n]``, in the
        batch's order, the same bits on every process."""
        if self.world is None:
            return losses
        parts: list[Tensor] = self.world.gather(losses)
        whole = losses.new_empty(len(losses), sum(part.shape[1] for part in parts))
        for rank, part in enumerate(parts):
            # As ``data.Batches`` deals them out.
            whole[:, rank :: self.world.size] = part
        return whole

    def total(self, num_samples: int) -> int:
        """Of all processes."""
        return num_samples if self.world is None else sum(self.world.gather(num_samples))

    def all_agree(self, answer: bool) -> bool:
        """Whether it is yes on every process."""
        return answer if self.world is None else all(self.world.gather(answer))


ALONE: Final = Share()
