"""The base model on this machine's device, with what is trained of it or on it."""

from .errors import ModelError
from .fine_tuned import FineTuned
from .load import load_model

__all__ = ["FineTuned", "ModelError", "load_model"]
