"""From an address to a ``Store``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from haversack_trainer.contract.environment import CLAIM_MOUNT
from haversack_trainer.contract.spec import S3Spec

from .base import Store, StoreError
from .file import FileStore


def open_store(
    uri: str, s3: S3Spec | None = None, environ: Mapping[str, str] | None = None
) -> Store:
    """The store at ``file:///path``, ``pvc://claim/path`` or ``s3://bucket/prefix``.

    ``s3`` says how a bucket is reached, ``environ`` holds its credentials (``AWS_ACCESS_KEY_ID`` and
    so on); both matter for ``s3://`` only. Nothing is read or written yet: that is ``Store.probe``.
    Raises ``StoreError`` for an address that cannot work.
    """
    scheme, _, rest = uri.partition("://")
    if scheme == "file" and rest.startswith("/"):
        return FileStore(Path(rest), uri)
    if scheme == "pvc" and rest.strip("/"):
        return _claim(uri, rest)
    if scheme == "s3" and rest.partition("/")[0]:
        # boto3 costs a quarter of a second and 34 MB, which folders need not pay.
        from .s3 import S3Store

        return S3Store.open(uri, s3 or S3Spec(), environ or {})
    raise StoreError(
        f"{uri!r} is no store: use s3://bucket/prefix, pvc://claim/path or file:///path"
    )


def _claim(uri: str, rest: str) -> FileStore:
    claim, _, path = rest.partition("/")
    if not (Path(CLAIM_MOUNT) / claim).is_dir():
        raise StoreError(
            f"{uri}: the claim {claim!r} is not mounted at {CLAIM_MOUNT}/{claim}; "
            "pvc:// works in pods only, elsewhere use file:///path"
        )
    return FileStore(Path(CLAIM_MOUNT) / claim / path, uri)
