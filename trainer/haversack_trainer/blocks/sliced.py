"""Operations of groups that save time: what runs is as narrow as the groups that do.

A *core* is the module in which query, key and value (or gate and up) are. While it runs, they give the active groups'
outputs only, and it is told that it has fewer heads; the groups in full and those that are forward only are two
passes, the second without gradients. Where the part's last linear map is inside the core (Llama, GPT-2, ViT), it takes
its columns of each pass and the passes' values are added. Where it is outside (BERT), the core gives the passes' values
one beside the other, and the map takes them apart again. Whether the core of a class can be run so is tried out,
once, with its first input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from .cuts import Part
from .errors import BlocksError
from .executor import hidden_of
from .linear import features
from .narrow import Pick, check_narrow, narrow
from .patch import generators_kept, replaced
from .projections import is_in_attention
from .table import Op

_COUNTS: Final = (
    "num_heads",
    "num_attention_heads",
    "num_key_value_heads",
    "n_heads",
    "n_head",
    "all_head_size",
    "split_size",
    "embed_dim",
)
"""Attributes that tell a core how many heads it has, or how wide they are together."""
_TOLERANCE: Final = {torch.float32: 1e-3, torch.float64: 1e-3}
"""Of the first try, relative to the largest value; a wrong cut is off by the whole of it."""
_COARSE_TOLERANCE: Final = 0.05


Patch = tuple[nn.Module, Callable[..., Any]]
"""A module and the ``forward`` that it gets."""


class SlicedPart:
    """One part of one layer that can be run by some of its groups. Raises ``BlocksError`` where its class
    cannot."""

    def __init__(self, layer: nn.Module, part: Part) -> None:
        parents = {rows.name.rpartition(".")[0] for rows in part.rows}
        if len(parents) != 1 or not (parent := parents.pop()):
            raise BlocksError(
                f"the maps before {part.name} of {type(layer).__name__} do not share a module, so it cannot "
                "be run in slices; choose emulate instead of sliced"
            )
        for module in (part.module, *(rows.module for rows in part.rows)):
            check_narrow(module)
        self._core, self._part = layer.get_submodule(parent), part
        self._is_inside = part.name.startswith(f"{parent}.")
        self._tried = False
        self._num_outputs: int | None = None
        """Of a core that returns a tuple its length, None for a tensor alone."""
        self._counts = {
            name: value
            for name in (_COUNTS if is_in_attention(part.name) else ())
            if isinstance(value := self._core.__dict__.get(name), int)
        }

    def narrowed(self, part: Part) -> SlicedPart:
        """The same of a part whose modules have been left with some groups, which need not be tried out again."""
        found = copy.copy(self)
        counts = {name: vars(self._core)[name] for name in self._counts}
        found._part, found._counts = part, counts  # noqa: SLF001  # one of its own kind
        return found

    @property
    def core(self) -> nn.Module:
        """The module that gives fewer heads, or less of the inner width."""
        return self._core

    @property
    def part(self) -> Part:
        """What is sliced."""
        return self._part

    @property
    def is_inside(self) -> bool:
        """Whether the last linear map is in the core."""
        return self._is_inside

    @property
    def num_outputs(self) -> int | None:
        """Of a core that was tried out: its length if it returns a tuple, None for a tensor alone."""
        return self._num_outputs

    @property
    def counts(self) -> dict[str, int]:
        """The attributes that tell the core how many heads it has."""
        return self._counts

    def run(
        self, ops: Sequence[Op], scale: float, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """What the groups, by ``ops``, add to the hidden state: the core's value after the last linear map."""
        with ExitStack() as stack:
            for module, forward in self.patches(ops, scale):
                stack.enter_context(replaced(module, forward=forward))
            value = first_of(self._core(*args, **kwargs))
            return value if self._is_inside else self._part.module(value)

    def patches(self, ops: Sequence[Op], scale: float = 1.0) -> list[Patch]:
        """For one micro-batch, what runs counting ``scale`` times; none where that changes nothing."""
        groups = [[g for g, op in enumerate(ops) if op is kind] for kind in (Op.FULL, Op.FORWARD)]
        if len(groups[0]) == len(ops) and scale == 1.0:
            return []
        full, forward = (self._slice(some, scale) for some in groups)
        found = [(self._core, self._run(full, forward))]
        if not self._is_inside:
            found.append((self._part.module, self._apart(full, forward)))
        return found

    def _slice(self, groups: Sequence[int], scale: float = 1.0) -> _Slice:
        part = self._part
        outputs = [
            part.outputs(rows, shape[1], groups)
            for rows in part.rows
            if (shape := features(rows.module))
        ]
        columns = part.columns(groups)
        width = sum(run.stop - run.start for run in columns)
        return _Slice(tuple(groups), outputs, columns, width, scale)

    def _run(self, full: _Slice, forward: _Slice) -> Callable[..., Any]:
        original = self._core.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            if not self._core.training:
                return original(*args, **kwargs)
            if not self._tried:
                self._try(original, args, kwargs)
            passes = []
            if full.groups:
                with self._narrowed(full):
                    passes.append(first_of(original(*args, **kwargs)))
            else:
                passes.append(self.nothing(hidden_of(args, kwargs)))
            if forward.groups:
                with torch.no_grad(), self._narrowed(forward, with_bias=False):
                    passes.append(first_of(original(*args, **kwargs)))
            joined, count = self._joined(passes), self._num_outputs
            return joined if count is None else (joined, *(None,) * (count - 1))

        return run

    def _apart(self, full: _Slice, forward: _Slice) -> Callable[..., Any]:
        """The last map's ``forward`` where it is outside of the core."""
        module = self._part.module
        original = module.forward

        def run(hidden: Tensor) -> Tensor:
            if not module.training:
                whole: Tensor = original(hidden)
                return whole
            (trained, *frozen) = torch.split(hidden, [full.width, forward.width], -1)
            value = full.after(module, trained)
            if not forward.groups:
                return value
            with torch.no_grad():
                beside = forward.after(module, frozen[0], with_bias=False)
            return value + beside

        return run

    @contextmanager
    def _narrowed(self, chosen: _Slice, *, with_bias: bool = True) -> Iterator[None]:
        share = len(chosen.groups), self._part.num_groups
        counts = {name: value * share[0] // share[1] for name, value in self._counts.items()}
        with ExitStack() as stack:
            stack.enter_context(replaced(self._core, **counts))
            for rows, outputs in zip(self._part.rows, chosen.outputs, strict=True):
                narrower = partial(narrow, rows.module, outputs=outputs)
                stack.enter_context(replaced(rows.module, forward=narrower))
            if self._is_inside:
                last = self._part.module
                narrower = partial(chosen.after, last, with_bias=with_bias)
                stack.enter_context(replaced(last, forward=narrower))
            yield

    def nothing(self, hidden: Tensor) -> Tensor:
        """What no group at all comes to: the last map's bias, or an input without columns for it."""
        none = hidden.detach()[..., :0]
        return narrow(self._part.module, none, inputs=()) if self._is_inside else none

    def _joined(self, passes: Sequence[Tensor]) -> Tensor:
        if not self._is_inside:
            return torch.cat(list(passes), -1)
        (first, *others) = passes
        return sum(others, first)

    def _try(
        self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Whether the groups' halves, run apart, come to the whole. Draws nothing, changes nothing."""
        count = self._part.num_groups
        halves = [range(count // 2), range(count // 2, count)]
        with _still(self._core), torch.no_grad():
            output = original(*args, **kwargs)
            passes = []
            try:
                for half in halves[count == 1 :]:
                    with self._narrowed(self._slice(half), with_bias=half.start == 0):
                        passes.append(first_of(original(*args, **kwargs)))
                joined = self._joined(passes)
                error = (joined - first_of(output)).abs().amax().item()
            except (RuntimeError, ValueError, TypeError, IndexError) as problem:
                raise self._refusal(str(problem).partition("\n")[0]) from problem
        tolerance = _TOLERANCE.get(joined.dtype, _COARSE_TOLERANCE)
        if not error <= tolerance * max(1e-6, first_of(output).abs().amax().item()):
            raise self._refusal("its halves do not add up to the whole")
        self._num_outputs = len(output) if isinstance(output, tuple) else None
        self._tried = True

    def _refusal(self, reason: str) -> BlocksError:
        return BlocksError(
            f"{type(self._core).__name__} cannot be run by some of its groups ({reason}); choose emulate "
            "instead of sliced"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """Some groups of a part."""

    groups: tuple[int, ...]
    outputs: Sequence[Pick]
    """Of each of the part's rows."""
    columns: Pick
    width: int
    """How many columns."""
    scale: float
    """How often what they add counts."""

    def after(self, last: nn.Module, hidden: Tensor, *, with_bias: bool = True) -> Tensor:
        """What they add: the last linear map of what they give, ``hidden [..., width]``."""
        scaled = hidden if self.scale == 1.0 else hidden * self.scale
        return narrow(last, scaled, inputs=self.columns, with_bias=with_bias)


def first_of(output: Any) -> Tensor:
    """A core's value, alone or first of a tuple."""
    value: Tensor = output[0] if isinstance(output, tuple) else output
    return value


@contextmanager
def _still(core: nn.Module) -> Iterator[None]:
    """Without dropout; the generators are left as they were."""
    before = [(module, module.training) for module in core.modules()]
    with generators_kept(next(core.parameters()).device):
        try:
            core.eval()
            yield
        finally:
            for module, training in before:
                module.training = training
