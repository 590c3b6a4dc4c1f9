"""``hf://`` addresses, by huggingface_hub and its cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from .samples import DataError
from .space import check_space

Snapshot = Callable[..., Any]
"""``huggingface_hub.snapshot_download``."""

_NAME_PARTS: Final = 2


def from_hub(
    uri: str, cache_dir: Path, revision: str | None, ignored: list[str], snapshot: Snapshot | None
) -> Path:
    """``hf://owner/name[/path]`` is a model, ``hf://datasets/owner/name[/path]`` a data set."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, RevisionResolutionError, XetDownloadError

    parts = PurePosixPath(uri.removeprefix("hf://")).parts
    kind, parts = ("dataset", parts[1:]) if parts[:1] == ("datasets",) else ("model", parts)
    if len(parts) < _NAME_PARTS or ".." in parts:
        raise DataError(f"{uri} must be hf://owner/name or hf://datasets/owner/name")
    fetch: Snapshot = snapshot or huggingface_hub.snapshot_download
    name, folder = "/".join(parts[:_NAME_PARTS]), cache_dir / "hf"
    asked = {"repo_type": kind, "revision": revision, "ignore_patterns": ignored}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plan = fetch(name, cache_dir=folder, dry_run=True, **asked)
        check_space(uri, sum(file.file_size for file in plan if file.will_download), folder)
        return Path(fetch(name, cache_dir=folder, **asked), *parts[_NAME_PARTS:])
    except (OSError, HFValidationError, RevisionResolutionError, XetDownloadError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{uri} cannot be fetched ({first}); check name, revision, HF_TOKEN and network"
        ) from error
