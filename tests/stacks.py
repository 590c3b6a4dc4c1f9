"""Transformers of eight families with three tiny layers each, and LoRA on all of their linear layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from haversack_trainer.model.targets import is_linear

NUM_LAYERS: Final = 3
VOCABULARY: Final = 64
_SIZES: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
_IDS: Final[dict[str, Any]] = {"vocab_size": VOCABULARY, "pad_token_id": 0}
_TEXT: Final = _SIZES | _IDS
_GROUPED: Final = _TEXT | {"num_key_value_heads": 2, "use_cache": False}
_DROPOUT: Final = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_EXPERTS: Final = {"moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}


@dataclass(frozen=True)
class Family:
    """One architecture; ``sizes`` go to its config."""

    config: str
    model: str
    sizes: dict[str, Any]


FAMILIES: Final = {
    "llama": Family("LlamaConfig", "LlamaForCausalLM", _GROUPED),
    "qwen2": Family("Qwen2Config", "Qwen2ForCausalLM", _GROUPED),
    "gemma2": Family("Gemma2Config", "Gemma2ForCausalLM", _GROUPED | {"head_dim": 4}),
    "mixtral": Family("MixtralConfig", "MixtralForCausalLM", _GROUPED | {"num_local_experts": 4}),
    "qwen2-moe": Family(
        "Qwen2MoeConfig", "Qwen2MoeForCausalLM", _GROUPED | _EXPERTS | {"num_experts": 4}
    ),
    "gpt2": Family(
        "GPT2Config",
        "GPT2LMHeadModel",
        _IDS
        | {"n_embd": 16, "n_layer": NUM_LAYERS, "n_head": 4, "use_cache": False}
        | {"bos_token_id": 1, "eos_token_id": 2}
        | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    ),
    "roberta": Family("RobertaConfig", "RobertaForMaskedLM", _TEXT | _DROPOUT),
    "deberta-v2": Family(
        "DebertaV2Config",
        "DebertaV2ForMaskedLM",
        _TEXT
        | _DROPOUT
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "conv_kernel_size": 3},
    ),
    "vit": Family(
        "ViTConfig",
        "ViTForImageClassification",
        _SIZES | _DROPOUT | {"image_size": 8, "patch_size": 4, "num_channels": 1},
    ),
}


def network(
    family: str,
    *,
    checkpointing: bool = False,
    sizes: dict[str, Any] | None = None,
    dropout: float = 0.0,
    attention: str = "eager",
    dora: bool = False,
) -> nn.Module:
    """In training, adapters with B away from zero, so that all of them have gradients. ``sizes`` change the
    config, ``dropout`` is LoRA's."""
    import transformers
    from peft import LoraConfig, get_peft_model

    kind = FAMILIES[family]
    torch.manual_seed(1)
    config = getattr(transformers, kind.config)(**kind.sizes | (sizes or {}))
    base = getattr(transformers, kind.model)._from_config(config, attn_implementation=attention)
    heads = ("lm_head", "score", "classifier", "cls", "lm_predictions")
    targets = [
        name
        for name, module in base.named_modules()
        if is_linear(module) and not name.startswith(heads)
    ]
    with warnings.catch_warnings():
        # peft 0.21 still asks for a property that transformers 5.23 has renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        lora = LoraConfig(
            r=2,
            target_modules=targets,
            fan_in_fan_out=family == "gpt2",
            lora_dropout=dropout,
            use_dora=dora,
        )
        model: nn.Module = get_peft_model(base, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    if checkpointing:
        base.enable_input_require_grads()
        base.activation_checkpointing_enable({"use_reentrant": False})
    return model.train()


def loss(model: Any, seed: int = 0, rows: slice = slice(None)) -> Tensor:
    """A scalar that every output counts in, over some of two samples."""
    generator = torch.Generator().manual_seed(seed)
    if "ViT" in type(model.get_base_model()).__name__:
        inputs = {"pixel_values": torch.randn(2, 1, 8, 8, generator=generator)}
    else:
        ids = torch.randint(3, VOCABULARY, (2, 8), generator=generator)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    dtype = next(model.parameters()).dtype
    inputs = {n: t.to(dtype) if t.is_floating_point() else t for n, t in inputs.items()}
    inputs = {n: t[rows] for n, t in inputs.items()}
    logits: Tensor = model(**inputs).logits
    return logits.float().square().mean()


def gradients(model: nn.Module, figure: Callable[[Any], Tensor] = loss) -> dict[str, Tensor | None]:
    """Of one backward pass, by parameter; the loss is under ``loss``."""
    model.zero_grad(set_to_none=True)
    value = figure(model)
    value.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return {"loss": value.detach(), **found}


def same(left: dict[str, Tensor | None], right: dict[str, Tensor | None]) -> bool:
    """Bit by bit."""

    def equal(a: Tensor | None, b: Tensor | None) -> bool:
        return a is b if a is None or b is None else torch.equal(a, b)

    return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
