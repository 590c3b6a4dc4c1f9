"""From an address to a folder or file on this machine."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from haversack_trainer.contract.environment import CLAIM_MOUNT

from .hub import Snapshot, from_hub
from .objects import OpenStore, from_store
from .samples import DataError

UNUSED: Final = [
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.ot", "*.tflite"),
    *("*.onnx", "*.gguf", "onnx/*", "openvino/*", "coreml/*"),
]
"""Other forms of a model's weights: only safetensors are read, so the rest is not fetched."""


def resolve(
    uri: str,
    *,
    cache_dir: Path,
    open_store: OpenStore,
    revision: str | None = None,
    snapshot: Snapshot | None = None,
) -> Path:
    """The local file or folder behind ``file://``, ``pvc://``, ``s3://`` or ``hf://``.

    ``snapshot`` stands in for ``huggingface_hub.snapshot_download``. Raises ``DataError``.
    """
    scheme, _, rest = uri.partition("://")
    match scheme:
        case "file":
            found = _local_path(uri)
        case "pvc":
            found = _claim_path(uri, rest)
        case "s3":
            found = from_store(uri, cache_dir, UNUSED, open_store)
        case "hf":
            found = from_hub(uri, cache_dir, revision, UNUSED, snapshot)
        case _:
            raise DataError(f"{uri} has no known scheme: use file://, s3://, hf:// or pvc://")
    if not found.exists():
        raise DataError(f"{uri} was not found: there is nothing at {found}; correct it")
    return found


def _local_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc:
        raise DataError(f"{uri} names a host; write file:///{parts.netloc}{parts.path}")
    return Path(unquote(parts.path))


def _claim_path(uri: str, rest: str) -> Path:
    parts = PurePosixPath(rest).parts
    if ".." in parts or not parts or rest.startswith("/"):
        raise DataError(f"{uri} must be pvc://claim/path, below the claim")
    return Path(CLAIM_MOUNT, *parts)
