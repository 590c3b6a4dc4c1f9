"""FSDP2 over the processes of one pod: every weight is split along its first dimension, with a mesh of the pod's own.

The partition that the method sees is one flat fp32 copy of this process's pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from haversack_trainer.model.state import canonical, check_fits

from .base import Gradient, LossModel
from .gradient import accumulate, clip, outcome
from .world import World


class Fsdp2:
    """An ``Shards``. With bf16 the weights stay fp32; what is computed with is bf16."""

    def __init__(
        self,
        module: nn.Module,
        trainables: Sequence[tuple[str, nn.Parameter]],
        world: World,
        *,
        bf16: bool,
    ) -> None:
        self.world, self._module = world, module
        names = {name for name, _ in trainables}
        device = trainables[0][1].device.type
        mesh = init_device_mesh(device, (world.size,))
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if bf16 else None,
            reduce_dtype=torch.float32 if bf16 else None,
        )
        for block in _blocks(module):
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(module, mesh=mesh, mp_policy=policy)
        found = {canonical(name): parameter for name, parameter in module.named_parameters()}
        self._trainables: list[tuple[str, Any]] = [(name, found[name]) for name in sorted(names)]
        self._flat = torch.cat([piece.reshape(-1) for piece in self._pieces()]).detach().clone()

    def partitions(self) -> list[Tensor]:
        return [self._flat]

    def gradient(self, model: LossModel, batch: Sequence[Any], max_norm: float) -> Gradient:
        loss, num_samples = accumulate(self.world, model, batch, _backward)
        self._flat.grad = torch.cat([_gradient(p).reshape(-1) for _, p in self._trainables])
        for _, parameter in self._trainables:
            parameter.grad = None
        is_finite = clip(self.world, [self._flat], max_norm)
        return outcome(loss, num_samples, is_finite=is_finite)

    @torch.no_grad()
    def updated(self) -> None:
        pieces = self._pieces()
        for piece, values in zip(
            pieces, torch.split(self._flat, [p.numel() for p in pieces]), strict=True
        ):
            piece.copy_(values.view(piece.shape))
        self._let_go()

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._trainables)

    def state(self) -> dict[str, Tensor]:
        return {
            name: _whole(parameter).to("cpu", torch.float32, copy=True).contiguous()
            for name, parameter in self._trainables
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        check_fits([(name, parameter.shape) for name, parameter in self._trainables], state)
        for name, parameter in self._trainables:
            value = state[name].to(parameter.device, parameter.dtype)
            # Every process has the whole value already: nobody sends.
            split = distribute_tensor(
                value, parameter.device_mesh, parameter.placements, src_data_rank=None
            )
            parameter.to_local().copy_(split.to_local())
        self._flat.copy_(torch.cat([piece.reshape(-1) for piece in self._pieces()]))
        self._let_go()

    def whole(self, tensor: Tensor) -> Tensor:
        return _whole(tensor)

    def _let_go(self) -> None:
        """What lies in no block stays gathered after a forward pass that no backward pass follows: with old values."""
        for part in self._module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def _pieces(self) -> list[Tensor]:
        return [parameter.to_local() for _, parameter in self._trainables]


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The layers, innermost lists first: what is gathered and let go together."""
    return [block for part in module.modules() if isinstance(part, nn.ModuleList) for block in part]


def _backward(loss: Tensor, _is_last: bool) -> None:
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it


def _gradient(parameter: Any) -> Tensor:
    """A parameter that took no part has no gradient."""
    if parameter.grad is None:
        return torch.zeros_like(parameter.to_local())
    local: Tensor = parameter.grad.to_local()
    return local


def _whole(parameter: Tensor) -> Tensor:
    tensor: Any = parameter.detach()
    whole: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole
