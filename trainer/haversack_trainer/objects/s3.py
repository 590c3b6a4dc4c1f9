"""A bucket as a store: plain boto3, its own retries, streams with running checksums."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, TypeVar

import boto3
from botocore.config import Config

from haversack_trainer.contract.spec import S3Spec

from .base import Conflict, Damaged, NotFound, ObjectInfo, StoreError
from .keys import check_key
from .landing import landing, translated
from .patience import Patience
from .probe import probe
from .s3download import stream
from .s3errors import Errors, Site, passes, translate
from .s3upload import MULTIPART_FROM_BYTES, checksum, parts, upload

PROBE_SECONDS: Final = 20.0
"""A store that is not there at start-up is more likely misspelt than busy."""
_T = TypeVar("_T")
_KEY, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


@dataclass(slots=True)
class S3Store:
    """``objects.base.Store`` over one prefix of a bucket."""

    uri: str
    client: Any = field(repr=False)
    site: Site
    prefix: str
    patience: Patience = field(default_factory=Patience)
    _probed: bool | None = None

    @classmethod
    def open(
        cls, uri: str, s3: S3Spec, environ: Mapping[str, str], patience: Patience | None = None
    ) -> Self:
        """The store at ``s3://bucket/prefix``; no request is made yet."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        site = Site(bucket, s3.endpoint or "", s3.region)
        prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        return cls(uri, _client(s3, environ, site), site, prefix, patience or Patience())

    def within(self, seconds: float) -> Self:
        """See ``Store.within``."""
        return replace(self, patience=self.patience.capped(seconds))

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        """See ``Store.put``."""
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        condition |= {"IfMatch": if_match} if if_match is not None else {}
        if len(data) >= MULTIPART_FROM_BYTES and not condition:
            return self._upload(key, io.BytesIO(data), len(data), None)
        return self._put_whole(key, data, condition)

    def put_file(self, key: str, path: Path, sha256: str) -> ObjectInfo:
        """See ``Store.put_file``."""
        with translated(path), path.open("rb") as file:
            size = path.stat().st_size
            if size >= MULTIPART_FROM_BYTES:
                return self._upload(key, file, size, sha256)
            return self._put_whole(key, b"".join(parts(file, size, sha256)), {})

    def get(self, key: str) -> tuple[bytes, ObjectInfo]:
        """See ``Store.get``."""
        where = self._where(key)

        def whole() -> tuple[bytes, Any]:
            answer = self.client.get_object(**where)
            return answer["Body"].read(), answer

        data, answer = self._ask(key, whole)
        return data, ObjectInfo(key, len(data), answer["ETag"], answer["LastModified"].timestamp())

    def download(self, key: str, path: Path, sha256: str | None = None) -> str:
        """See ``Store.download``."""
        get = partial(self.client.get_object, **self._where(key))
        with landing(path) as file:
            try:
                found = stream(get, file, self.patience)
            except Errors as error:
                raise translate(error, self.site, key) from error
            if sha256 not in {None, found}:
                raise Damaged(
                    f"{key} has sha256 {found}, not {sha256}: it was changed or cut short"
                )
        return found

    def head(self, key: str) -> ObjectInfo | None:
        """See ``Store.head``."""
        where = self._where(key)
        try:
            answer = self._ask(key, lambda: self.client.head_object(**where))
        except NotFound:
            return None
        return ObjectInfo(
            key, answer["ContentLength"], answer["ETag"], answer["LastModified"].timestamp()
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ``Store.list``."""
        request = {"Bucket": self.site.bucket, "Prefix": self.prefix + prefix}
        while True:
            page = self._ask(prefix, partial(self.client.list_objects_v2, **request))
            for entry in page.get("Contents", ()):
                yield ObjectInfo(
                    entry["Key"].removeprefix(self.prefix),
                    entry["Size"],
                    entry["ETag"],
                    entry["LastModified"].timestamp(),
                )
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        where = self._where(key)
        self._ask(key, lambda: self.client.delete_object(**where))

    def probe(self) -> bool:
        """See ``Store.probe``."""
        if self._probed is None:
            self._probed = probe(self.within(PROBE_SECONDS))
        return self._probed

    def abort_uploads(self, before: float) -> int:
        """See ``Store.abort_uploads``."""
        request = {"Bucket": self.site.bucket, "Prefix": self.prefix}
        page = self._ask("", lambda: self.client.list_multipart_uploads(**request))
        stale = [
            {"Bucket": self.site.bucket, "Key": found["Key"], "UploadId": found["UploadId"]}
            for found in page.get("Uploads", ())
            if found["Initiated"].timestamp() < before
        ]
        for where in stale:
            self._ask(where["Key"], partial(self.client.abort_multipart_upload, **where))
        return len(stale)

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.site.bucket, "Key": self.prefix + check_key(key)}

    def _put_whole(self, key: str, data: bytes, condition: dict[str, str]) -> ObjectInfo:
        where, attempts = self._where(key) | condition, 0

        def put() -> Any:
            nonlocal attempts
            attempts += 1
            return self.client.put_object(**where, Body=data, ChecksumSHA256=checksum(data))

        try:
            return _written(key, len(data), self._ask(key, put))
        except Conflict:
            # The first attempt may have been stored although its answer was lost.
            if attempts > 1:
                there, info = self.get(key)
                if there == data:
                    return info
            raise

    def _upload(self, key: str, source: BinaryIO, size: int, sha256: str | None) -> ObjectInfo:
        try:
            answer = upload(
                partial(self._ask, key), self.client, self._where(key), parts(source, size, sha256)
            )
        except NotFound:
            # The upload is no more: it was completed, but the answer was lost; or it was swept away.
            if (info := self.head(key)) is not None and info.size_bytes == size:
                return info
            raise
        return _written(key, size, answer)

    def _ask(self, key: str, request: Callable[[], _T]) -> _T:
        """The answer to ``request``, however often it has to be made."""
        wait = self.patience.start()
        while True:
            try:
                return request()
            except Errors as error:
                if not passes(error) or not wait():
                    raise translate(error, self.site, key) from error


def _written(key: str, size: int, answer: Any) -> ObjectInfo:
    date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    return ObjectInfo(key, size, answer["ETag"], parsedate_to_datetime(date).timestamp())


def _client(s3: S3Spec, environ: Mapping[str, str], site: Site) -> Any:
    """A client that neither retries (``_ask`` does) nor adds checksums of its own, which older
    servers do not know."""
    given = [name for name in (_KEY, _SECRET) if environ.get(name)]
    if len(given) == 1:
        raise StoreError(
            f"the S3 credentials for bucket {site.bucket} are half there: the Secret in "
            f"storage.s3.secretRef needs both {_KEY} and {_SECRET}, it has only {given[0]}"
        )
    explicit: dict[str, Any] = (
        {
            "aws_access_key_id": environ[_KEY],
            "aws_secret_access_key": environ[_SECRET],
            "aws_session_token": environ.get(_TOKEN),
        }
        if given
        else {}
    )
    try:
        return boto3.session.Session(region_name=s3.region, **explicit).client(
            "s3", endpoint_url=s3.endpoint, config=_config(s3)
        )
    except (*Errors, ValueError) as error:
        raise StoreError(
            f"storage.s3 cannot work ({type(error).__name__}): check endpoint {site} and region"
        ) from error


def _config(s3: S3Spec) -> Config:
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if s3.endpoint else "auto"},
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=10,
        read_timeout=60,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
