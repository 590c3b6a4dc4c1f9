"""DeepSpeed's ZeRO 1, 2 and 3 over the processes of one pod (Rajbhandari et al., arXiv 1910.02054).

DeepSpeed gets an optimizer that changes nothing and only keeps the gradient of the rank's flat fp32 partition: reduced
over the pod, but not yet used. What becomes of it is the method's business, which may take rounds of the log;
DeepSpeed is never left in the middle of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from haversack_trainer.model.state import check_fits

from .base import Gradient, LossModel
from .deepspeed import configuration, gathered, load_deepspeed
from .gradient import accumulate, clip, outcome
from .world import World

WEIGHTS_SHARDED: Final = 3


class Zero:
    """An ``Shards``. ``trainables`` are the module's own, as they were before DeepSpeed took them."""

    def __init__(
        self,
        module: nn.Module,
        trainables: Sequence[tuple[str, nn.Parameter]],
        world: World,
        *,
        stage: int,
        bf16: bool,
    ) -> None:
        self.world, self._stage = world, stage
        self._trainables = list(trainables)
        self._keeper = _Keeper([parameter for _, parameter in trainables])
        self._engine, *_ = load_deepspeed().initialize(
            model=module, optimizer=self._keeper, config=configuration(stage, bf16=bf16)
        )
        if bf16:
            module.register_forward_pre_hook(_in_bf16, with_kwargs=True)

    def partitions(self) -> list[Tensor]:
        zero = self._engine.optimizer
        flat = (
            zero.fp32_partitioned_groups_flat
            if self._stage == WEIGHTS_SHARDED
            else zero.single_partition_of_fp32_groups
        )
        return list(flat)

    def gradient(self, model: LossModel, batch: Sequence[Any], max_norm: float) -> Gradient:
        self._keeper.kept = None
        if self._stage == WEIGHTS_SHARDED:
            # Of a parameter that takes no part it would keep the gradient of a step before.
            self._engine.optimizer.grad_partitions_flat_buffer.zero_()
        loss, num_samples = accumulate(self.world, model, batch, self._backward)
        partitions = self.partitions()
        # DeepSpeed takes no step where the pod's norm is not finite.
        for part, kept in zip(
            partitions, self._keeper.kept or [None] * len(partitions), strict=True
        ):
            part.grad = kept
        is_finite = clip(self.world, partitions, max_norm) and self._keeper.kept is not None
        return outcome(loss, num_samples, is_finite=is_finite)

    def _backward(self, loss: Tensor, is_last: bool) -> None:
        engine = self._engine
        engine.set_gradient_accumulation_boundary(is_last)
        engine.backward(loss, scale_wrt_gas=False)
        engine.step()
        # Done by the engine's own ``forward`` otherwise, which the model does not go through: without it ZeRO-3
        # forgets all micro-batches but the last.
        engine.optimizer.clear_backward_seen_flag()

    def updated(self) -> None:
        zero = self._engine.optimizer
        if self._stage != WEIGHTS_SHARDED:
            zero.update_lp_params()
            return
        # As its own step does. Small parameters stay gathered between two steps: unless they are let go first, the
        # model goes on with their old values.
        zero._partition_all_parameters()  # noqa: SLF001
        for group in range(len(zero.fp32_partitioned_groups_flat)):
            zero._reassign_or_swap_out_partitioned_parameters(group)  # noqa: SLF001
        if zero.persistent_parameters:
            zero.persistent_parameters[0].all_gather(zero.persistent_parameters)

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._trainables)

    def state(self) -> dict[str, Tensor]:
        get = load_deepspeed().utils.safe_get_full_fp32_param
        return {
            name: get(parameter).detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, parameter in self._trainables
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        shapes = [(name, getattr(p, "ds_shape", p.shape)) for name, p in self._trainables]
        check_fits(shapes, state)
        put = load_deepspeed().utils.safe_set_full_fp32_param
        for name, parameter in self._trainables:
            put(parameter, state[name].to(parameter.device, torch.float32))
        self.updated()

    def whole(self, tensor: Tensor) -> Tensor:
        return gathered(tensor)


class _Keeper(torch.optim.Optimizer):
    """Keeps the gradients that DeepSpeed hands to it, and leaves the weights alone."""

    kept: list[Tensor] | None = None

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        # One group: DeepSpeed makes one flat partition of it.
        super().__init__([{"params": parameters}], {"lr": 0.0})

    def step(self, closure: object = None) -> None:  # type: ignore[override]  # noqa: ARG002  # the base class has it overloaded
        given = [part for group in self.param_groups for part in group["params"]]
        self.kept = (self.kept or []) + [part.grad for part in given]


def _in_bf16(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Images come in fp32."""
    return inputs, {
        name: value.bfloat16() if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in named.items()
    }
