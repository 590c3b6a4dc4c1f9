"""A peer of another framework: the task of ``bench.together`` in plain transformers, peft and torch.

Run by that framework's Python. It reads what ``bench.rival.export`` wrote: everybody's initial state, and of its own
peer the texts and labels and, step by step, which of them are a batch and what seeds its dropout. So the same
local steps can be compared, whoever carries the states.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Peer:
    """One of them, with a model of its own."""

    def __init__(self, folder: Path, number: int, *, keeps_moments: bool) -> None:
        """``keeps_moments``: AdamW goes on from round to round; otherwise each round has a new one."""
        self.task: dict[str, Any] = json.loads((folder / "task.json").read_text())
        self._data = json.loads((folder / f"peer-{number}.json").read_text())
        self._keeps_moments = keeps_moments
        self._model, self._tokenizer = _built(self.task)
        self._parameters = dict(sorted(_trainables(self._model)))
        self.load(initial(folder))
        self._optimizer = self._new_optimizer()
        self.local_cpu_seconds: list[float] = []
        """Of each round's steps."""

    def state(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(state[name])

    def train(self, round: int) -> int:
        """The local steps of a round; how many samples they saw."""
        begin = time.thread_time()
        self._model.train()
        if not self._keeps_moments:
            self._optimizer = self._new_optimizer()
        count = self.task["local_steps"]
        steps = self._data["steps"][round * count : (round + 1) * count]
        for step in steps:
            self._step(step["samples"], step["dropout_seed"])
        self.local_cpu_seconds.append(time.thread_time() - begin)
        return sum(len(step["samples"]) for step in steps)

    def _step(self, samples: list[int], dropout_seed: int) -> None:
        texts = [self._data["texts"][n] for n in samples]
        tokens = self._tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.task["max_length"],
            return_tensors="pt",
        )
        torch.manual_seed(dropout_seed)
        self._optimizer.zero_grad()
        labels = torch.tensor([self._data["labels"][n] for n in samples])
        self._model(**tokens, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), 1.0)
        self._optimizer.step()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        rate = self.task["learning_rate"]
        return torch.optim.AdamW(self._parameters.values(), lr=rate, weight_decay=0.0)


def initial(folder: Path) -> dict[str, Tensor]:
    """The state that all begin with, by name."""
    from safetensors.torch import load_file

    return dict(load_file(folder / "initial.safetensors"))


def _built(task: Mapping[str, Any]) -> tuple[Any, Any]:
    """The model with its adapter, and the tokenizer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = AutoModelForSequenceClassification.from_pretrained(
        task["model"], num_labels=task["num_labels"], local_files_only=True
    )
    lora = LoraConfig(task_type="SEQ_CLS", **task["lora"])
    with warnings.catch_warnings():
        # peft 0.21 still asks for a property that transformers 5.23 has renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        model = get_peft_model(base, lora)
    return model, AutoTokenizer.from_pretrained(task["model"], local_files_only=True)


def _trainables(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    """By the names that an adapter file has."""
    return [
        (name.replace(".modules_to_save.default", "").replace(".default", ""), parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
