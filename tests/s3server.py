"""S3 servers for tests: versitygw, a real one over a folder, and moto."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
from binaries import find_tool, free_port, need_tool
from botocore.config import Config

from haversack_trainer.contract.spec import S3Spec

BUCKET: Final = "haversack-test"
REGION: Final = "us-east-1"
_START_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server with one empty bucket."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str = BUCKET

    @property
    def environ(self) -> dict[str, str]:
        """The variables that a Secret would set."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    @property
    def spec(self) -> S3Spec:
        """As in ``spec.storage.s3``."""
        return S3Spec(endpoint=self.endpoint, region=REGION)

    def client(self) -> Any:
        """Plain boto3, for looking behind a store's back."""
        return boto3.session.Session(self.access_key, self.secret_key, region_name=REGION).client(
            "s3", endpoint_url=self.endpoint, config=Config(s3={"addressing_style": "path"})
        )


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """The best server there is: versitygw, or moto where that is not installed."""
    with versitygw(folder) if find_tool("versitygw") else moto() as server:
        yield server


@contextmanager
def versitygw(folder: Path) -> Iterator[S3Server]:
    """Versitygw over ``folder``, with random keys; skips the test where it is not installed."""
    binary = need_tool("versitygw")
    data = folder / "versitygw"
    data.mkdir(parents=True)
    server = S3Server(
        "versitygw", f"http://127.0.0.1:{free_port()}", f"AK{secrets.token_hex(8)}", secrets.token_urlsafe(24)
    )  # fmt: skip
    keys = {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
    address = server.endpoint.removeprefix("http://")
    command = [str(binary), "--port", address, "--region", REGION, "posix", str(data)]
    with (folder / "versitygw.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | keys, stdout=log, stderr=log)
        try:
            _wait_for(server, process)
            server.client().create_bucket(Bucket=BUCKET)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=10)


@contextmanager
def moto() -> Iterator[S3Server]:
    """Moto in this process. It checks neither signatures nor checksums."""
    from moto.server import ThreadedMotoServer

    thread = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    try:
        host, port = thread.get_host_and_port()
        server = S3Server("moto", f"http://{host}:{port}", "AKmoto", "moto-secret")
        # moto keeps its buckets for as long as the process lives.
        request = urllib.request.Request(f"{server.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=10).close()
        server.client().create_bucket(Bucket=BUCKET)
        yield server
    finally:
        thread.stop()


def _wait_for(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{server.name} did not start; its log is in the test's folder")
