"""A task that a small language model can do a little by prompt alone, from real text on every machine.

The texts are docstrings of Python's standard library (``examples.demo.corpus``, names of modules masked); the
question is which of four families of modules a docstring is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from examples.demo import corpus

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.data import Samples, Split, split

SEED: Final = 17
MAX_LENGTH: Final = 64
PARTS: Final = 16
"""The training data are always dealt to this many; fewer machines hold several parts each."""
NUM_HELD_OUT: Final = 400
FAMILIES: Final = {
    "numbers": "numbers and time",
    "files": "files and archives",
    "network": "network",
    "drawing": "windows and drawing",
}
PROMPT: Final[dict[str, Any]] = {
    "template": "{text}\nThis documentation is about",
    "verbalisers": {
        "numbers": " mathematics",
        "files": " files",
        "network": " network",
        "drawing": " graphics",
    },
}


def samples() -> Samples:
    """About 1,800 texts in four classes."""
    classes = tuple(sorted(FAMILIES))
    texts = [corpus.texts(FAMILIES[name]) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(some) for some in texts])
    return Samples(tuple(text for some in texts for text in some), classes, labels)


def job(model: Path, batch_size: int) -> JobFile:
    """LoRA on ``model`` for this task."""
    return JobFile.model_validate(
        {
            "run": "bench.prompted.00000000",
            "job": "prompted",
            "model": {"uri": f"file://{model}", "task": "CausalLM"},
            "dataset": {
                "uri": "file:///none",
                "maxLength": MAX_LENGTH,
                "prompt": PROMPT,
                "heldOut": {"percent": 50, "maxSamples": NUM_HELD_OUT},
            },
            "method": {"type": "SPSA"},
            "training": {"batchSize": batch_size, "seed": SEED},
            "storage": {"uri": "file:///none"},
            "numPeers": PARTS,
            "minPeers": 1,
        }
    )


def dealt(whole: Samples, of: JobFile) -> Split:
    """Held-out texts, and the training texts in ``PARTS`` parts; the same for any number of machines."""
    return split(whole, of.dataset, PARTS, SEED)
