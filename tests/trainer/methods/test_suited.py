from __future__ import annotations

import pytest

from haversack_trainer.contract.adapter import AdapterSpec, LoraSpec
from haversack_trainer.contract.cards import METHODS, MethodCard
from haversack_trainer.method import Unsuited, check_suited

WITH_DROPOUT = AdapterSpec(lora=LoraSpec(dropout="0.1"))


@pytest.mark.parametrize("card", METHODS.values(), ids=lambda card: card.type)
def test_dropout_is_for_methods_with_a_backward_pass(card: MethodCard) -> None:
    check_suited(card, AdapterSpec())
    if card.needs_backward:
        check_suited(card, WITH_DROPOUT)
        return
    with pytest.raises(Unsuited, match=r"adapter\.lora\.dropout is 0\.1; set it to 0 for"):
        check_suited(card, WITH_DROPOUT)
