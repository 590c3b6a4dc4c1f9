"""What the API server checks of any object, for those in a person's file: metadata, and a Secret's data."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from haversack_operator.api.faults import quote
from haversack_operator.api.job import LABEL_KEY_PATTERN

NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
OBJECT_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
DATA_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")
_TEXT: Final = "must be a text; put it in quotes"


def fault(body: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with an object's metadata or a Secret's data, in a sentence."""
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return "metadata: must be an object with a name"
    found = [*_metadata(metadata), *(_secret(body) if body.get("kind") == "Secret" else ())]
    return found[0] if found else None


def _metadata(metadata: Mapping[str, Any]) -> Iterator[str]:
    namespace = metadata.get("namespace")
    if namespace is not None and not _matches(NAMESPACE, namespace):
        yield (
            "metadata.namespace: write at most 63 letters a-z, digits and '-', instead of "
            f"{quote(namespace)}"
        )
    for field in ("labels", "annotations"):
        yield from _texts(f"metadata.{field}", metadata.get(field), LABEL_KEY_PATTERN)


def _secret(secret: Mapping[str, Any]) -> Iterator[str]:
    name = secret["metadata"].get("name")
    if not _matches(OBJECT_NAME, name):
        yield f"metadata.name: write letters a-z, digits, '-' and '.', instead of {quote(name)}"
    for field in ("data", "stringData"):
        yield from _texts(field, secret.get(field), DATA_KEY.pattern)
    data = secret.get("data")
    for key, value in data.items() if isinstance(data, Mapping) else ():
        if isinstance(value, str) and not _is_base64(value):
            yield f"data.{key}: is not base64; write it so, or move it to stringData"


def _texts(path: str, values: object, key_pattern: str) -> Iterator[str]:
    if values is None:
        return
    if not isinstance(values, Mapping):
        yield f"{path}: must be an object of texts"
        return
    for key, value in values.items():
        if not _matches(re.compile(key_pattern), key):
            yield f"{path}: {quote(key)} is no key; write letters, digits, '-', '_' and '.'"
        if not isinstance(value, str):
            yield f"{path}.{str(key)[:40]}: {_TEXT}"


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
