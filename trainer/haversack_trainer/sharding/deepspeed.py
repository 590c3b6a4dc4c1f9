"""DeepSpeed, imported only by who shards with it, and configured in one place."""

from __future__ import annotations

import warnings
from typing import Any, Final

import torch

from haversack_trainer.contract.weights import LIVE_PARAMETERS

BUCKET: Final = 2**22
"""Elements that are reduced or gathered at once; larger tensors go alone."""
WHOLE_GROUP: Final = 10**15
"""Elements of a sub-group: ZeRO-3 then makes one flat partition, as ZeRO-1 and 2 do."""


def load_deepspeed() -> Any:
    """The module, ready for use in a pod. The process group must be there already."""
    import deepspeed
    from deepspeed import ops

    # Built at the first start otherwise: images have no compiler, and a pod killed meanwhile would leave a lock
    # behind for which the next one waits for ever. Gloo reduces as well.
    ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def configuration(stage: int, *, bf16: bool) -> dict[str, Any]:
    """DeepSpeed's own settings. Clipping and accumulation are ours."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": stage,
            "sub_group_size": WHOLE_GROUP,
            # DeepSpeed's own are so large that to fill a bucket, as repeatable arithmetic does, takes seconds a step.
            "reduce_bucket_size": BUCKET,
            "allgather_bucket_size": BUCKET,
            # DeepSpeed's own are ten times as much: placement counts on these.
            "stage3_max_reuse_distance": LIVE_PARAMETERS,
            "stage3_max_live_parameters": LIVE_PARAMETERS,
        },
        "bf16": {"enabled": bf16},
        "steps_per_print": 10**9,
    }


def sharded_loading(*, bf16: bool) -> Any:
    """Keep the result alive while a model is loaded by ``from_pretrained``: each process then holds only its
    share of every weight, at no time the whole model."""
    load_deepspeed().init_distributed("gloo")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.integrations import HfDeepSpeedConfig

    return HfDeepSpeedConfig(configuration(3, bf16=bf16))


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a parameter as a whole, also where each process holds a part of it."""
    with load_deepspeed().zero.GatheredParameters([tensor]):
        return tensor.detach().clone()
