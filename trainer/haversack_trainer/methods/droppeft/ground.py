"""What DropPEFT finds in a model: its layers, what is trained in each, and which must always run."""

from __future__ import annotations

from typing import Final

from haversack_trainer.blocks import BlocksError, Layers, find_layers
from haversack_trainer.method import LayeredTrainee, Unsuited

from .federation import Parts
from .rates import Infeasible, protected_layers
from .settings import Head, Settings

_A: Final = "lora_A"


def layers_of(model: LayeredTrainee) -> Layers:
    """Raises ``Unsuited``."""
    try:
        return find_layers(model.network)
    except BlocksError as error:
        raise Unsuited(f"method.type DropPEFT: {error}") from error


def parts_of(settings: Settings, model: LayeredTrainee, layers: Layers) -> Parts:
    """Raises ``Unsuited`` if nothing is trained in the layers."""
    named = list(model.trainables())
    inside = layers.of_parameters(iter(named))
    if not inside:
        raise Unsuited(
            f"method.type DropPEFT: nothing is trained in the layers at {layers.path}; set "
            "adapter.lora.targetModules to linear layers in them"
        )
    where = {name: inside.get(name) for name, _ in named}
    # Noise on both factors would be multiplied with itself.
    still = (name for name in where if _A in name) if settings.privacy else ()
    return Parts(where, len(layers), settings.head is Head.SHARED, frozenset(still))


def protected_of(settings: Settings, layers: Layers) -> frozenset[int]:
    """Raises ``Unsuited`` for a layer that there is not."""
    try:
        named = settings.protected_layers or ()
        return protected_layers(settings.protect, named, layers.structural, len(layers))
    except Infeasible as error:
        raise Unsuited(f"method.dropPEFT.{error}") from error
