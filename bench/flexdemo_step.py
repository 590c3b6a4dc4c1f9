"""Goals P1 and P2: CPU-seconds of compressing and updating, two nodes, and bytes per kept coefficient.

FlexDeMo against the reference's form of DeMo (einsums over 64 x 64 blocks, written from the formulas) and
against DeToNATION's own optimizer from PyPI, whose two ranks talk over gloo. Each is a process of one thread,
and their steps take turns. All have the same number of elements; none waits for a network: the other node's
payload is made before. DeToNATION is installed into a virtual environment in the user's cache, the first time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.figures import spread, write
from bench.rival import python_of

DETONATION: Final = "detonation==0.5.2"
CHUNK: Final = 64
WARM_UP: Final = 1
RIVAL: Final = Path(__file__).parent / "flexdemo_detonation.py"
Step = Callable[[], dict[str, float]]


def matrices(num_elements: int) -> list[list[int]]:
    """Square ones of 2048, or of 256 where those are too large."""
    side = 2048 if num_elements >= 2048**2 else 256
    return [[side, side]] * (num_elements // side**2)


def ours(num_elements: int) -> Step:
    """Four of 64 coefficients, one flat bucket."""
    import torch

    from haversack_trainer.methods.flexdemo.optimizer import FlexDemoOptimizer
    from haversack_trainer.methods.flexdemo.options import Options

    def node(seed: int) -> FlexDemoOptimizer:
        whole = torch.nn.Parameter(torch.zeros(num_elements))
        whole.grad = torch.randn(num_elements, generator=torch.Generator().manual_seed(seed))
        return FlexDemoOptimizer([whole], Options())

    here, there = node(0), node(1).compress()

    def step() -> dict[str, float]:
        payload = here.compress()
        here.apply([payload, there])
        return {"bytes": len(payload)}

    return step


def reference(num_elements: int) -> Step:
    """DeMo with top 32 of each block of 64 x 64, three operands in one einsum; int64 indices, fp32 values."""
    import torch
    from torch import Tensor

    from haversack_trainer.methods.flexdemo.transform import dct_matrix

    k, matrix = 32, dct_matrix(CHUNK, torch.device("cpu"))
    shapes = matrices(num_elements)
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    momenta, weights = ([torch.zeros(shape) for shape in shapes] for _ in range(2))

    def encode(x: Tensor) -> Tensor:
        blocks = x.view(x.shape[0] // CHUNK, CHUNK, -1, CHUNK).transpose(1, 2)
        return torch.einsum("yxij,ui,vj->yxuv", blocks, matrix, matrix)

    def decode(q: Tensor) -> Tensor:
        blocks = torch.einsum("yxuv,ui,vj->yxij", q, matrix, matrix)
        return blocks.transpose(1, 2).reshape(q.shape[0] * CHUNK, -1)

    def scattered(like: Tensor, index: Tensor, values: Tensor) -> Tensor:
        flat = torch.zeros_like(like).flatten(2)
        return flat.scatter_reduce(2, index, values, "mean", include_self=False).view_as(like)

    def one(weight: Tensor, momentum: Tensor, gradient: Tensor) -> int:
        momentum.mul_(0.999).add_(gradient)
        q = encode(momentum)
        index = q.flatten(2).abs().topk(k, sorted=False).indices
        values = q.flatten(2).gather(2, index)
        momentum.sub_(decode(scattered(q, index, values)))
        both = torch.cat([index, index.flip(0)], 2), torch.cat([values, values.flip(0)], 2)
        weight.sub_(decode(scattered(q, *both)).sign_(), alpha=0.001)
        return index.nbytes + values.nbytes

    return lambda: {"bytes": sum(map(one, weights, momenta, gradients))}


WORKERS: Final = {"ours": ours, "reference": reference}


def serve(name: str, num_elements: int) -> None:
    """One step for each line of input."""
    import torch

    torch.set_num_threads(1)
    step = WORKERS[name](num_elements)
    for _ in sys.stdin:
        begin = time.process_time()
        figures = step()
        print(json.dumps({"cpu_seconds": time.process_time() - begin, **figures}), flush=True)


class Runner:
    """One process, or two that step together, of which the first counts."""

    def __init__(self, *commands: list[str]) -> None:
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for command in commands
        ]

    def step(self) -> dict[str, float]:
        for process in self._processes:
            assert process.stdin is not None
            print(file=process.stdin, flush=True)
        answers = [self._answer(process) for process in self._processes]
        return answers[0]

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{process.args!r} has ended")
        answer: dict[str, float] = json.loads(line)
        return answer

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@contextmanager
def runners(num_elements: int) -> Iterator[dict[str, Runner]]:
    """All that take turns, by name."""
    python = python_of(DETONATION, "einops", "mltiming", options=["--no-deps"])

    def own(name: str) -> Runner:
        arguments = ["--worker", name, "--elements", str(num_elements)]
        return Runner([sys.executable, "-m", "bench.flexdemo_step", *arguments])

    def rival(folder: str, name: str, top_k: int, shapes: list[list[int]]) -> Runner:
        tail = [f"{folder}/{name}", str(top_k), json.dumps(shapes)]
        return Runner(*([str(python), str(RIVAL), str(rank), *tail] for rank in range(2)))

    with TemporaryDirectory() as folder, ExitStack() as stack:
        found = {
            "FlexDeMo, 4 of 64": own("ours"),
            "DeMo's einsums, 32 of 64 x 64": own("reference"),
            "DeToNATION, 4 of 64": rival(folder, "flat", 4, [[num_elements]]),
            "DeToNATION, 32 of 64 x 64": rival(folder, "square", 32, matrices(num_elements)),
        }
        for runner in found.values():
            stack.callback(runner.close)
        yield found


def kept(name: str, num_elements: int) -> int:
    """Coefficients that a node sends in a step."""
    if name.endswith("x 64"):
        return sum(32 * prod(shape) // CHUNK**2 for shape in matrices(num_elements))
    return 4 * num_elements // CHUNK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=6 * 2048**2, help="a multiple of 65536")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--worker", choices=sorted(WORKERS), help="be one of the processes")
    arguments = parser.parse_args()
    if arguments.worker is not None:
        serve(arguments.worker, arguments.elements)
        return
    seconds: dict[str, list[float]] = {}
    figures: dict[str, Any] = {"elements": arguments.elements, "nodes": 2}
    with runners(arguments.elements) as found:
        for number in range(WARM_UP + arguments.repeats):
            for name, runner in found.items():
                answer = runner.step()
                if number >= WARM_UP:
                    seconds.setdefault(name, []).append(answer["cpu_seconds"])
                per_value = answer["bytes"] / kept(name, arguments.elements)
                figures[name] = {"bytes_per_kept_coefficient": round(per_value, 3)}
    for name, values in seconds.items():
        figures[name]["cpu_seconds"] = spread(values, 3)
    write("flexdemo_step", figures)


if __name__ == "__main__":
    main()
