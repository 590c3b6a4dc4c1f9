"""Real handwritten digits, and a small vision transformer that has seen them without their labels.

1,797 images of 8 x 8 by 43 people (Alpaydin and Kaynak, UCI, as scikit-learn brings them). The transformer of 0.3 million
weights was taught to tell by how many quarter turns an image is rotated (Gidaris, Singh, Komodakis, ICLR 2018, sections 2 and 3), so
that fine-tuning has something to start from. That takes a minute or two, once; ``python -m bench.digits`` says where it is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from bench.kept import kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED: Final = 17
SIDE: Final = 8
BRIGHTEST: Final = 16.0
TURNS: Final = 4
EPOCHS: Final = 80
BATCH_SIZE: Final = 128
LEARNING_RATE: Final = 1e-3
SHAPE: Final[dict[str, int]] = {
    "image_size": SIDE,
    "num_channels": 1,
    "patch_size": 2,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
}
NAME: Final = "digits-vit-1"


def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``[n, 1, 8, 8]`` in [-1, 1], and which digit each is."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    found: Any = load_digits()
    pixels = found.images.astype(np.float32) / (BRIGHTEST / 2) - 1
    return pixels[:, None], found.target.astype(np.int64)


def write(path: Path) -> None:
    """The images as JSON lines, flat, with their labels."""
    rows = zip(*images(), strict=True)
    lines = (
        json.dumps({"text": pixels.ravel().round(4).tolist(), "label": f"{digit}"})
        for pixels, digit in rows
    )
    path.write_text("\n".join(lines) + "\n")


def folder() -> Path:
    """The transformer in Hugging Face layout, trained at the first call."""
    return kept(NAME, _train)


def _train(folder: Path) -> None:
    """Write it to ``folder``."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(SEED)
    pixels = torch.from_numpy(images()[0])
    model: Any = ViTForImageClassification(ViTConfig(num_labels=TURNS, **SHAPE))
    steps = EPOCHS * len(pixels) // BATCH_SIZE
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        chosen = torch.randint(len(pixels), (BATCH_SIZE,))
        turns = torch.randint(TURNS, (BATCH_SIZE,))
        pairs = zip(pixels[chosen], turns.tolist(), strict=True)
        turned = torch.stack([torch.rot90(image, turn, (1, 2)) for image, turn in pairs])
        output = model(pixel_values=turned, labels=turns)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % (steps // 4) == 0:
            right = float((output.logits.argmax(1) == turns).float().mean())
            print(f"turns told apart after {step + 1} of {steps} steps: {100 * right:.0f} %")
    model.vit.save_pretrained(folder)


if __name__ == "__main__":
    print(folder())
