"""Independent runs of a comparison, several at a time, each in a process and a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import TypeVar

Case = TypeVar("Case")
Result = TypeVar("Result")


def abreast(
    work: Callable[[Case], Result],
    cases: Sequence[Case],
    num_processes: int,
    *,
    fresh: bool = False,
) -> Iterator[tuple[Case, Result]]:
    """Each case with what ``work``, a function of a module, makes of it, in the order of ``cases``. ``fresh``: no process
    does two."""
    with processes(num_processes, fresh=fresh) as pool:
        yield from zip(cases, pool.map(work, cases), strict=True)


def unfolding(
    pool: Executor,
    work: Callable[[Case], Result],
    cases: Iterable[Case],
    onward: Callable[[Case, Result], Iterable[Case]],
) -> Iterator[tuple[Case, Result]]:
    """Each case with its result as soon as it is there; what ``onward`` makes of the two is done as well. A case that
    fails keeps none of the others from it; raises ``ExceptionGroup`` at the end."""
    failures: list[Exception] = []
    running: dict[Future[Result], Case] = {pool.submit(work, case): case for case in cases}
    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            case = running.pop(future)
            try:
                result = future.result()
            except Exception as error:  # noqa: BLE001  whatever it is, it is told at the end
                failures.append(error)
                continue
            running |= {pool.submit(work, then): then for then in onward(case, result)}
            yield case, result
    if failures:
        raise ExceptionGroup("runs failed", failures)


def processes(num_processes: int, *, fresh: bool = False) -> ProcessPoolExecutor:
    """With a thread each. ``fresh``: none is given two cases."""
    return ProcessPoolExecutor(
        num_processes,
        get_context("spawn"),
        initializer=_one_thread,
        max_tasks_per_child=1 if fresh else None,
    )


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
