"""The adapter on disk: PEFT's layout, the same bytes for the same adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from .errors import ModelError
from .state import ADAPTER

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """How this job's adapter is described and written."""

    config: Any
    """``peft.LoraConfig``, with the base model's address."""
    has_labels: bool
    """True if the classes' names must be restorable: the model's config is then written beside."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further files, name and text."""

    @property
    def text(self) -> str:
        """Canonical JSON of what makes two adapters the same kind."""
        config = self.config
        described = {
            "type": "LoRA",
            "rank": config.r,
            "alpha": config.lora_alpha,
            "targets": sorted(config.target_modules),
            "modules": sorted(set(config.modules_to_save or ())),
        }
        return json.dumps(described, sort_keys=True, separators=(",", ":"))

    def save(self, folder: Path, state: Mapping[str, torch.Tensor], model_config: Any) -> None:
        """Write config, weights and, for a classifier, ``config.json`` with its ``id2label``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(
            _canonical_json(self.config.to_dict() | {"inference_mode": True})
        )
        save_file(dict(state), folder / WEIGHTS, metadata={"format": "pt"})
        if self.has_labels:
            (folder / "config.json").write_text(_canonical_json(model_config.to_dict()))
        for name, text in self.notes.items():
            (folder / name).write_text(text)

    def read(self, folder: Path) -> dict[str, torch.Tensor]:
        """The tensors of an adapter of this very kind. Raises ``ModelError``."""
        try:
            described = json.loads((folder / CONFIG).read_text())
            tensors: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"the adapter in {folder} cannot be read: {error}") from error
        for name in ("r", "lora_alpha"):
            if described.get(name) != getattr(self.config, name):
                raise ModelError(
                    f"the adapter in {folder} has {name} {described.get(name)}, not "
                    f"{getattr(self.config, name)}: a pod with several processes cannot take it for reference"
                )
        return tensors

    @contextmanager
    def loaded(self, model: Any, folder: Path) -> Iterator[None]:
        """``model`` under the adapter in ``folder``; afterwards everything is as before."""
        was_training = model.training
        try:
            with torch.random.fork_rng(enabled=True):
                _load(model, folder)
            model.set_adapter(_OTHER, inference_mode=True)
            yield
        finally:
            model.set_adapter(ADAPTER)
            if _OTHER in model.peft_config:
                model.delete_adapter(_OTHER)
            model.train(was_training)


def _load(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            names = set(file.keys())
        device = next(model.parameters()).device
        model.load_adapter(folder, _OTHER, torch_device=str(device))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the adapter in {folder} cannot be put on this model: {first}") from error
    differing = sorted(names ^ get_peft_model_state_dict(model, adapter_name=_OTHER).keys())
    if differing:
        raise ModelError(
            f"the adapter in {folder} belongs to another model: {len(differing)} tensors do not fit, "
            f"e.g. {differing[0]}"
        )


def _canonical_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """Sets are sorted: peft keeps module names in them, and their order changes from process to process."""
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
