"""A large object from a file or from memory: in parts, and never half of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final

from .base import Damaged, StoreError

Ask = Callable[[Callable[[], Any]], Any]
"""Makes a request until it succeeds or patience ends; raises ``StoreError``."""

MULTIPART_FROM_BYTES: Final = 16 << 20
PART_BYTES: Final = 8 << 20
MAX_PARTS: Final = 10_000


def checksum(data: bytes) -> str:
    """Value of ``ChecksumSHA256``, which makes the server refuse bytes that changed on the way."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def parts(source: BinaryIO, size: int, sha256: str | None) -> Iterator[bytes]:
    """``source`` in pieces that S3 takes (at most 10,000). Raises ``Damaged`` at its end if it is not
    what ``sha256`` says, before anything is made visible."""
    part_bytes, digest = max(PART_BYTES, -(-size // MAX_PARTS)), hashlib.sha256()
    while part := source.read(part_bytes):
        digest.update(part)
        yield part
    if sha256 not in {None, digest.hexdigest()}:
        raise Damaged(f"a file changed while it was uploaded: it was to have sha256 {sha256}")


def upload(ask: Ask, client: Any, where: dict[str, str], pieces: Iterator[bytes]) -> Any:
    """Store ``pieces`` as the object ``where`` (``Bucket`` and ``Key``); the answer of the last request.

    Aborts on any failure, so that no part stays behind; what a killed process leaves is collected
    by ``abort_uploads``.
    """
    begun = ask(lambda: client.create_multipart_upload(**where, ChecksumAlgorithm="SHA256"))
    upload_id = {"UploadId": begun["UploadId"]} | where
    try:
        done = [
            _part(ask, client, upload_id, number, piece) for number, piece in enumerate(pieces, 1)
        ]
        return ask(
            lambda: client.complete_multipart_upload(**upload_id, MultipartUpload={"Parts": done})
        )
    except BaseException:
        with suppress(StoreError):
            ask(lambda: client.abort_multipart_upload(**upload_id))
        raise


def _part(
    ask: Ask, client: Any, upload_id: dict[str, str], number: int, piece: bytes
) -> dict[str, Any]:
    digest = checksum(piece)
    answer = ask(
        lambda: client.upload_part(
            **upload_id, PartNumber=number, Body=piece, ChecksumSHA256=digest
        )
    )
    return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest}
