"""Frozen linear layers in four bits: NF4 of QLoRA (Dettmers et al., arXiv 2305.14314, section 3).

Blocks of 64 weights share an fp32 scale, their largest magnitude; a weight is the nearest of 16 levels, the
quantiles of a normal deviate. Products are in fp32, with weights unpacked a layer at a time, forwards and
backwards: the same numbers on every kind of device. Plain torch: bitsandbytes has faster kernels for some
cards, but weighs 124 MB, has no kernels for Jetson Orin, and on CPUs with AVX512-BF16 computes in bf16
without being asked, which a method that subtracts two losses cannot bear.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import torch
from torch import nn

BLOCK: Final = 64
LEVELS: Final = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""Appendix E of the paper."""


def pack(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes ``[numel / 2]`` uint8, the first of two in the high half, and scales ``[numel / 64]`` fp32."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    scales = blocks.abs().amax(1)
    levels = torch.tensor(LEVELS)
    middles = (levels[1:] + levels[:-1]) / 2
    # A block of zeros has no scale; whatever is divided by, its weights are 0.
    codes = torch.bucketize(blocks / scales.clamp(min=1e-30)[:, None], middles)
    halves = codes.to(torch.uint8).reshape(-1, 2)
    return halves[:, 0] << 4 | halves[:, 1], scales


def unpack(codes: torch.Tensor, scales: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """The weights that the codes stand for, fp32."""
    levels = torch.tensor(LEVELS, device=codes.device)
    octets = torch.arange(256, device=codes.device)
    table = torch.stack([levels[octets >> 4], levels[octets & 15]], 1)
    blocks = table.index_select(0, codes.int()).view(-1, BLOCK)
    return (blocks * scales[:, None]).view(shape)


class _Product(torch.autograd.Function):
    """``x·W^T``; W is unpacked again on the way back, rather than kept for all layers."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Nf4Linear) -> torch.Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, layer.weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0] @ ctx.layer.weight, None


class Nf4Linear(nn.Linear):
    """A frozen ``nn.Linear`` whose weight takes 4.5 bits each."""

    codes: torch.Tensor
    scales: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        codes, scales = pack(linear.weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]  # computed, not kept
        """Unpacked, ``[out, in]``."""
        return unpack(self.codes, self.scales, (self.out_features, self.in_features))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _Product.apply(input, self)  # type: ignore[no-untyped-call]  # torch's
        return product if self.bias is None else product + self.bias


def quantise(model: Any, spared: Collection[str]) -> int:
    """Put every linear layer of ``model`` into four bits, but for its output embeddings and what is in the
    modules named; how many there were."""
    output = model.get_output_embeddings()
    found = [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear
        and module is not output
        and module.weight.numel() % BLOCK == 0
        and not any(name == one or name.startswith(f"{one}.") for one in spared)
    ]
    for name, module in found:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Nf4Linear(module))
    return len(found)
