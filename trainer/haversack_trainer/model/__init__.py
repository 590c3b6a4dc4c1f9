"""The base model on this machine's device, with the adapter that is trained."""

from .adapted import AdaptedModel
from .errors import ModelError
from .load import load_model

__all__ = ["AdaptedModel", "ModelError", "load_model"]
