"""Real models of a few thousand weights, in Hugging Face folders, and jobs that name them."""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import pathlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.data import Samples

WIDTH = 16
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def docstrings(*modules: Any) -> Iterator[str]:
    """First lines of the docstrings in some modules of the standard library."""
    for module in modules:
        for _, member in inspect.getmembers(module):
            text = (
                inspect.getdoc(member)
                if inspect.isroutine(member) or inspect.isclass(member)
                else None
            )
            if text:
                yield text.splitlines()[0]


def texts() -> Samples:
    """Docstrings of two families: 0 argparse and csv, 1 pathlib and json."""
    families = [list(docstrings(argparse, csv)), list(docstrings(pathlib, json, Path))]
    labels = np.repeat([0, 1], [len(family) for family in families])
    return Samples((*families[0], *families[1]), ("parsing", "paths"), labels)


def save_tokenizer(folder: Path) -> int:
    """A WordPiece tokenizer trained on docstrings; returns its size."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token=special["unk"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(special.values()))
    tokenizer.train_from_iterator(texts().inputs, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    named = {f"{kind}_token": token for kind, token in special.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def bert(folder: Path) -> Path:
    """A BERT encoder without a head for classes, with one for masked tokens."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(1)
    config = BertConfig(vocab_size=save_tokenizer(folder), max_position_embeddings=64, **_SIZES)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    """A Llama decoder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=save_tokenizer(folder),
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        **_SIZES,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    """A vision transformer for one channel of 8 x 8 pixels."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(1)
    config = ViTConfig(image_size=8, patch_size=4, num_channels=1, **_SIZES)
    ViTModel(config).save_pretrained(folder)
    return folder


def job(folder: Path, task: str, **changes: Any) -> JobFile:
    """A job for one of these models; ``changes`` replace whole sections."""
    sections: dict[str, Any] = {
        "run": "default.tiny.00000000",
        "job": "tiny",
        "model": {"uri": f"file://{folder}", "task": task},
        "dataset": {"uri": "file:///data/train.jsonl", "maxLength": 24},
        "method": {"type": "SPSA"},
        "storage": {"uri": "file:///data/out"},
        "numPeers": 2,
        "minPeers": 2,
    }
    return JobFile.model_validate(sections | changes)
