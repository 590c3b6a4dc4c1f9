"""Classification by a language model's own words."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from .base import Frozen

TEXT: Final = "{text}"
ANSWER: Final = "{answer}"


class PromptSpec(Frozen):
    """A text in a template, and for each class the word that the model should go on with."""

    template: str = Field(
        max_length=4096,
        description=f"The prompt; {TEXT} stands for the sample's text. For MaskedLM {ANSWER} stands for the "
        "mask; for CausalLM the word follows the template, so it ends without a space.",
    )
    verbalisers: dict[str, Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        min_length=2,
        max_length=64,
        description="For each class its word, for most tokenizers with a space before it. What is compared is the "
        "score of each word's first token among those of all words.",
    )
