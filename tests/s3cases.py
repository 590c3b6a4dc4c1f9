"""Builders for tests of and over S3 stores."""

from __future__ import annotations

from s3server import S3Server

from haversack_trainer.objects.patience import Patience
from haversack_trainer.objects.s3 import S3Store


class Waiter:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, seconds: float = 60.0) -> Patience:
        return Patience(seconds, self.sleep, lambda: self.now)


def through(server: S3Server, uri: str, patience: Patience, **spec: str) -> S3Store:
    return S3Store.open(uri, server.spec.model_copy(update=spec), server.environ, patience)
