"""A large object to a file: streamed, hashed on the way, taken up again where a connection broke."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError

from .landing import CHUNK_BYTES
from .patience import Patience
from .s3errors import Errors, passes, status

Get = Callable[..., Any]
"""``client.get_object`` with bucket and key filled in."""

_PARTIAL_CONTENT: Final = 206
_PRECONDITION_FAILED: Final = 412


@dataclass(slots=True)
class _Arrival:
    """What has come so far."""

    file: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    at: int = 0
    size: int | None = None
    etag: str = ""

    def is_whole(self) -> bool:
        return self.at == self.size

    def condition(self) -> dict[str, str]:
        """Only the rest, and only of the same version."""
        return {"Range": f"bytes={self.at}-", "IfMatch": self.etag} if self.at else {}

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.at, self.size = hashlib.sha256(), 0, None

    def take(self, answer: Any) -> None:
        """Write the body of one answer. Raises boto3's errors when it ends too early."""
        if self.at and answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL_CONTENT:
            self.restart()  # the server knows no ranges
        self.size, self.etag = self.at + int(answer["ContentLength"]), answer["ETag"]
        # Not ``with body``: that would enter the raw stream below, which takes a short body for a whole one.
        with closing(answer["Body"]) as body:
            while chunk := body.read(CHUNK_BYTES):
                self.file.write(chunk)
                self.digest.update(chunk)
                self.at += len(chunk)


def stream(get: Get, file: BinaryIO, patience: Patience) -> str:
    """Bring the object into ``file`` and return its sha256.

    Patience starts anew whenever bytes came. Raises boto3's error once it is used up.
    """
    arrival, wait = _Arrival(file), patience.start()
    while not arrival.is_whole():
        before = arrival.at
        try:
            arrival.take(get(**arrival.condition()))
        except Errors as error:
            if arrival.is_whole():
                break
            if arrival.at > before:
                wait = patience.start()
            if isinstance(error, ClientError) and status(error) == _PRECONDITION_FAILED:
                arrival.restart()  # another version took its place: begin with that one
            elif not passes(error):
                raise
            if not wait():
                raise
    return str(arrival.digest.hexdigest())
