"""Independent runs of a comparison, several at a time, each in a process and a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Case = TypeVar("Case")
Result = TypeVar("Result")


def abreast(
    work: Callable[[Case], Result], cases: Sequence[Case], num_processes: int
) -> Iterator[tuple[Case, Result]]:
    """Each case with what ``work``, a function of a module, makes of it, in the order of ``cases``."""
    context = get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, initializer=_one_thread) as pool:
        yield from zip(cases, pool.map(work, cases), strict=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
