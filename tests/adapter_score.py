"""``python adapter_score.py MODEL ADAPTER ROWS.jsonl``: an adapter as its user would load it.

Nothing of Haversack is imported. Prints the mean loss without and with the adapter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def main(model: str, adapter: str, rows: str) -> None:
    """Write ``{"base": …, "adapter": …}``."""
    samples = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    classes = sorted({sample["label"] for sample in samples})
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=len(classes))
    tuned = PeftModel.from_pretrained(base, adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [sample["text"] for sample in samples]
    inputs = tokenizer(texts, truncation=True, max_length=32, padding=True, return_tensors="pt")
    targets = torch.tensor([classes.index(sample["label"]) for sample in samples])
    with torch.no_grad():
        with_it = cross_entropy(tuned(**inputs).logits, targets)
        with tuned.disable_adapter():
            without = cross_entropy(tuned(**inputs).logits, targets)
    sys.stdout.write(json.dumps({"base": float(without), "adapter": float(with_it)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
