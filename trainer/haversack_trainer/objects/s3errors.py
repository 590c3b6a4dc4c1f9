"""boto3's errors in our words. The only place that looks at them.

Sentences are made from codes and names, never from a server's or a library's message: those may
quote keys and signatures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import exceptions as boto

from .base import Away, Conflict, Damaged, NotFound, StoreError

Errors: Final = (boto.ClientError, boto.BotoCoreError)
"""What boto3 raises."""

_BUSY_CODES: Final = {
    "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "OperationAborted", "RequestTimeTooSkewed",
    "ConditionalRequestConflict",
    # versitygw, when another client's delete takes the folder away that was just made.
    "ExistingObjectIsDirectory",
}  # fmt: skip
_BUSY_STATUS: Final = {408, 429, 500, 502, 503, 504}
_AWAY: Final = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
)


@dataclass(frozen=True, slots=True)
class Site:
    """Which store it is, for the sentences."""

    bucket: str
    endpoint: str
    """As in storage.s3.endpoint, or empty for AWS."""
    region: str

    def __str__(self) -> str:
        """Never with a password that somebody put into the address."""
        address = urlsplit(self.endpoint)
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}" if self.endpoint else "AWS"


def passes(error: Exception) -> bool:
    """True if the same request may succeed a moment later."""
    if isinstance(error, boto.ClientError):
        return code(error) in _BUSY_CODES or status(error) in _BUSY_STATUS
    return isinstance(error, _AWAY) and not isinstance(error, boto.SSLError)


def code(error: boto.ClientError) -> str:
    """S3's word for the error; answers to HEAD have no body, so there it is the status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status(error: boto.ClientError) -> int:
    """The HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: Exception, site: Site, key: str) -> StoreError:
    """Our error for one of boto3's."""
    if isinstance(error, boto.ClientError):
        if passes(error) and code(error) not in _ANSWERS:
            return Away(_busy(error, site, key))
        kind, sentence = _ANSWERS.get(code(error), (StoreError, _unknown))
        return kind(sentence(error, site, key))
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return StoreError(
            f"there are no S3 credentials for bucket {site.bucket}: set storage.s3.secretRef to a "
            "Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, boto.SSLError):
        return StoreError(
            f"{site} has no certificate that this image trusts: check the name in "
            "storage.s3.endpoint and who signed it"
        )
    if isinstance(error, _AWAY):
        return Away(
            f"{site} cannot be reached ({type(error).__name__}): check storage.s3.endpoint, the "
            "network policy and that the server is up"
        )
    return StoreError(
        f"bucket {site.bucket} at {site} cannot be used ({type(error).__name__}): check storage.uri "
        "and storage.s3"
    )


def _busy(error: boto.ClientError, site: Site, key: str) -> str:
    said = f"{status(error)} {code(error)}".strip()
    return f"{site} kept answering {said} for {key}: it is overloaded or down; try again later"


def _unknown(error: boto.ClientError, site: Site, key: str) -> str:
    said = f"{status(error)} {code(error)}".strip()
    return f"{site} answered {said} for {key} in bucket {site.bucket}: check storage.uri and storage.s3"


def _no_object(_: boto.ClientError, site: Site, key: str) -> str:
    return f"there is no object {key} in bucket {site.bucket} at {site}"


def _no_bucket(_: boto.ClientError, site: Site, _key: str) -> str:
    return f"there is no bucket {site.bucket} at {site}: create it or correct storage.uri"


def _lost(_: boto.ClientError, site: Site, key: str) -> str:
    return f"{key} in bucket {site.bucket} exists already or changed since it was read"


def _damaged(_: boto.ClientError, site: Site, key: str) -> str:
    return f"{key} arrived damaged at {site}: the connection or a proxy changes bytes"


def _refused(error: boto.ClientError, site: Site, _key: str) -> str:
    return (
        f"{site} refuses the credentials for bucket {site.bucket} ({code(error)}): check the Secret "
        "named in storage.s3.secretRef (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and its rights"
    )


def _folder(_: boto.ClientError, site: Site, key: str) -> str:
    return (
        f"{key} cannot be written in bucket {site.bucket} at {site}: a folder has that name, or other "
        "clients keep removing the folder it is in; choose another prefix in storage.uri"
    )


def _region(error: boto.ClientError, site: Site, _key: str) -> str:
    headers: dict[str, Any] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    told = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
    hint = f"set storage.s3.region to {told}" if told else "correct storage.s3.region"
    return f"bucket {site.bucket} at {site} is not in region {site.region}: {hint}"


def _full(error: boto.ClientError, site: Site, _key: str) -> str:
    return f"bucket {site.bucket} at {site} is full ({code(error)}): free space or raise its quota"


_Sentence = Callable[[boto.ClientError, Site, str], str]
_TABLE: Final[tuple[tuple[str, type[StoreError], _Sentence], ...]] = (
    ("NoSuchKey NoSuchUpload NotFound 404", NotFound, _no_object),
    ("PreconditionFailed 412", Conflict, _lost),
    ("ConditionalRequestConflict OperationAborted", Conflict, _lost),
    ("BadDigest InvalidDigest XAmzContentChecksumMismatch", Damaged, _damaged),
    ("XAmzContentSHA256Mismatch", Damaged, _damaged),
    ("NoSuchBucket InvalidBucketName", StoreError, _no_bucket),
    (
        "InvalidAccessKeyId InvalidClientTokenId SignatureDoesNotMatch XAdminUserNotFound",
        StoreError,
        _refused,
    ),
    ("AccessDenied AllAccessDisabled InvalidToken ExpiredToken 401 403", StoreError, _refused),
    ("ExistingObjectIsDirectory", StoreError, _folder),
    ("PermanentRedirect AuthorizationHeaderMalformed 301", StoreError, _region),
    ("IllegalLocationConstraintException", StoreError, _region),
    ("QuotaExceeded XMinioStorageFull InsufficientStorage 507", StoreError, _full),
)
_ANSWERS: Final = {
    code: (kind, sentence) for codes, kind, sentence in _TABLE for code in codes.split()
}
