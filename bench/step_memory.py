"""Peak memory and time of a step; beside them it prints what the method's card tells placement to expect.

Each case is a process of its own: on CUDA its peak is what the card had to give (allocator and context), on a
CPU the process's largest resident set. A step is a round of one peer alone, over a log in memory. Models are MiniLM with its real weights, and Llamas of usual shapes
with random ones: memory and time do not ask what a weight is worth. One micro-batch is one step. Nothing else may
use the card meanwhile. ``--methods`` and ``--models`` measure some of it anew; what else the file holds is left, each row with the
commit that it was measured at.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.figures import commit, spread, write
from bench.memory_log import in_memory, never, start
from bench.pages import figures_if_any

from haversack_trainer.contract.adapter import AdapterSpec, AdapterType, LoraSpec
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.spec import Footprint
from haversack_trainer.contract.weights import weights_of

STEPS: Final = 5
RANK: Final = 8
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "D2FT": {"microBatches": 1, "devices": [1], "gossip": {"localSteps": 1}},
    "DecLoRA": {"localSteps": 1},
    "DropPEFT": {"localSteps": 1},
    "FlexDeMo": {},
    "SPSA": {"directions": 1},
}
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Shape:
    """A model, as far as memory depends on it."""

    task: str
    hidden_size: int
    num_layers: int
    num_heads: int = 0
    num_kv_heads: int = 0
    intermediate_size: int = 0
    vocabulary: int | None = None


SHAPES: Final = {
    "minilm-23m": Shape("SequenceClassification", 384, 6),
    "llama-60m": Shape("CausalLM", 512, 8, 8, 8, 1376, 32_000),
    "llama-1.1b": Shape("CausalLM", 2048, 22, 32, 4, 5632, 32_000),
}
"""The last one has TinyLlama's dimensions."""


@dataclass(frozen=True, slots=True)
class Case:
    model: str
    method: str
    max_length: int
    micro_batch: int
    adapter: str = "LoRA"


CPU_CASES: Final = [
    *(
        Case(model, method, 128, micro)
        for model in ("minilm-23m", "llama-60m")
        for method in METHODS
        for micro in (1, 8)
    ),
    *(Case("llama-60m", method, 128, 8, "Full") for method in METHODS),
]
CUDA_CASES: Final = [
    *(
        Case(model, method, 128, micro)
        for model in ("minilm-23m", "llama-60m")
        for method in METHODS
        for micro in (8, 32)
    ),
    *(Case("llama-1.1b", method, 512, micro) for method in METHODS for micro in (1, 4, 16)),
    *(Case("llama-60m", method, 128, 32, "Full") for method in METHODS),
]


def folder_of(name: str, parent: Path) -> Path:
    """The model in Hugging Face layout; made if it has random weights."""
    if name == "minilm-23m":
        from examples.demo import minilm

        return minilm.folder()
    folder = parent / name
    if not folder.exists():
        _make_llama(SHAPES[name], folder)
    return folder


def _make_llama(shape: Shape, folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny_models import save_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def adapter_of(case: Case) -> AdapterSpec:
    if case.adapter == "Full":
        return AdapterSpec(type=AdapterType.FULL)
    return AdapterSpec(lora=LoraSpec(rank=RANK))


def job_of(case: Case, folder: Path) -> JobFile:
    return JobFile.model_validate(
        {
            "run": "bench.memory.00000000",
            "job": "memory",
            "model": {"uri": f"file://{folder}", "task": SHAPES[case.model].task},
            "dataset": {"uri": "file:///none", "maxLength": case.max_length},
            "adapter": adapter_of(case).model_dump(by_alias=True),
            "method": {"type": case.method},
            "training": {"batchSize": case.micro_batch},
            "storage": {"uri": "file:///none"},
            "numPeers": 1,
            "minPeers": 1,
        }
    )


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Run the case's steps here."""
    import numpy as np
    import torch

    from haversack_trainer.data import Batches, Samples
    from haversack_trainer.model import load_model

    labelled = SHAPES[case.model].task == "SequenceClassification"
    text = "the quick brown fox parses arguments and writes json to a path " * case.max_length
    count = 2 * case.micro_batch
    classes = ("even", "odd") if labelled else ()
    samples = Samples((text,) * count, classes, np.arange(count) % 2 if labelled else None)
    card = METHODS[case.method]
    settings = card.load_settings().model_validate(SETTINGS[case.method])
    model = load_model(job_of(case, folder), folder, classes)
    batches = Batches(
        model.encode,
        samples,
        np.arange(count),
        batch_size=case.micro_batch,
        micro_batch_size=case.micro_batch,
        seed=17,
        peer=0,
    )
    method = card.load_factory()(settings, 0, 17, model, batches)
    exchange = in_memory()(0)
    start([exchange])
    seconds: list[float] = []
    for number in range(STEPS):
        begin = time.perf_counter()
        method.local_step(number)
        exchange.publish(number, method.outgoing(), never)
        method.incoming(exchange.collect(number, never))
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    whole: Any = model
    parameters = sum(parameter.numel() for parameter in whole._model.parameters())  # noqa: SLF001  # nobody else asks
    if case.adapter == "LoRA":
        parameters -= sum(parameter.numel() for _, parameter in model.trainables())
    return {
        "device": model.device.type,
        "peak_mib": _peak_bytes(model.device.type) // MIB,
        "parameters": parameters,
        "step_ms": spread([1000 * value for value in seconds[1:]]),
    }


def _peak_bytes(device: str) -> int:
    import torch

    if device == "cpu":
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    free, total = torch.cuda.mem_get_info()
    context = total - free - torch.cuda.memory_reserved()
    return context + torch.cuda.max_memory_reserved()


def expected_mib(case: Case, parameters: int, device: str) -> int:
    """What placement reckons with."""
    shape = SHAPES[case.model]
    footprint = Footprint(
        parameters=parameters,
        hidden_size=shape.hidden_size,
        num_layers=shape.num_layers,
        vocabulary_size=shape.vocabulary,
    )
    card = METHODS[case.method]
    settings = card.load_settings().model_validate(SETTINGS[case.method])
    peak = settings.memory(card.memory).peak_bytes(
        footprint,
        weights_of(footprint, adapter_of(case)),
        max_length=case.max_length,
        micro_batch=case.micro_batch,
        on_device=device != "cpu",
        active_layers=settings.active_layers(shape.num_layers),
    )
    return peak // MIB


def accelerator() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def rows(cases: list[Case], parent: Path) -> Iterator[tuple[Case, dict[str, Any]]]:
    for case in cases:
        folder = folder_of(case.model, parent)
        command = [sys.executable, "-m", "bench.step_memory", json.dumps(asdict(case)), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{case}: {done.stderr[-2000:]}")
        figures = json.loads(done.stdout.splitlines()[-1])
        expected = expected_mib(case, figures["parameters"], figures["device"])
        row = {**asdict(case), **figures, "commit": commit(), "accelerator": accelerator()}
        print(f"{row}, the card expects {expected} MiB", flush=True)
        yield case, row


def case_of(row: dict[str, Any]) -> Case:
    """What a row of a result file was measured of."""
    return Case(**{field.name: row[field.name] for field in fields(Case) if field.name in row})


def measured_before(variant: str) -> dict[Case, dict[str, Any]]:
    return {case_of(row): row for row in figures_if_any(f"step_memory{variant}").get("steps", ())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="?", help="one case as JSON, to be measured in this process")
    parser.add_argument("folder", nargs="?", type=Path, help="its model")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--models", nargs="*", choices=SHAPES, default=list(SHAPES))
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(json.dumps(measure(Case(**json.loads(arguments.case)), arguments.folder)))
        return
    on_cuda = accelerator() is not None
    variant = "_cuda" if on_cuda else ""
    chosen = [
        case
        for case in (CUDA_CASES if on_cuda else CPU_CASES)
        if case.method in arguments.methods and case.model in arguments.models
    ]
    known = measured_before(variant)
    with TemporaryDirectory() as name:
        for case, row in rows(chosen, Path(name)):
            known[case] = row
            write("step_memory", {"steps": list(known.values())}, variant)


if __name__ == "__main__":
    main()
