"""A whole model on disk: a plain Hugging Face folder, the same bytes for the same weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .base import Base
from .errors import ModelError

CONFIG: Final = "config.json"
_COMPANIONS: Final = (
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template*",
    "preprocessor_config.json",
)
"""What else of the base's folder is needed to use the model."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """How this job's model is written and read back."""

    base: Path
    """The base model's folder."""
    load: Callable[[Path], Base]
    """Reads a folder into a model of the same kind."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further files, name and text."""

    def save(self, folder: Path, model: Any, state: Mapping[str, Any] | None = None) -> None:
        """Write ``model`` and its tokenizer, so that ``from_pretrained`` loads both. ``state``: its weights, where
        the model itself has only parts of them."""
        model.save_pretrained(folder, state_dict=state)
        written = json.loads((folder / CONFIG).read_text())
        if "use_cache" in written:  # off for training only
            written["use_cache"] = _of(self.base / CONFIG).get("use_cache", True)
        (folder / CONFIG).write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
        for pattern in _COMPANIONS:
            for file in self.base.glob(pattern):
                if file.is_file():
                    shutil.copyfile(file, folder / file.name)
        for name, text in self.notes.items():
            (folder / name).write_text(text)

    def read(self, folder: Path) -> Base:
        """The model in ``folder``. Raises ``ModelError`` if it is not one like this."""
        found = self.load(folder)
        if strange := (*found.new_modules, *found.unused):
            raise ModelError(
                f"the model in {folder} is another one than this: {len(strange)} parts do not fit, "
                f"e.g. {strange[0]}"
            )
        return found


def _of(config: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(config.read_text())
    return values
