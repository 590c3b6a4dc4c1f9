"""One rank of DeToNATION's own optimizer; run by ``flexdemo_step`` in a virtual environment of its own.

Arguments: rank, a file for the rendezvous, top-k, JSON list of shapes. For each line on its input it takes one
step and answers with JSON: CPU-seconds, and the bytes that its replicator says it sent.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist


def serve(rank: int, rendezvous: str, top_k: int, shapes: list[list[int]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    alone = [dist.new_group([0]), dist.new_group([1])][rank]
    optim: Any = import_module("detonation.optim")
    repl: Any = import_module("detonation.repl")
    generator = torch.Generator().manual_seed(rank)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    with contextlib.redirect_stdout(sys.stderr):
        optimizer = optim.DeToSGD(
            parameters,
            lr=0.001,
            sharding_parallel_group=alone,
            replication_parallel_group=dist.group.WORLD,
            replicator=repl.DeMoReplicator(compression_topk=top_k, compression_chunk=64),
        )
    for _ in sys.stdin:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        begin = time.process_time()
        optimizer.step()
        spent = time.process_time() - begin
        sent = optimizer.replicators[0].data_transmitted[-1]
        print(json.dumps({"cpu_seconds": spent, "bytes": sent}), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
