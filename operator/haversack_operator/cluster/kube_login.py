"""Where the API server is, and as whom we speak: a pod's service account, or a kubeconfig."""

from __future__ import annotations

from typing import Final

import kopf
from yaml import YAMLError

from .base import ClusterError

UNREADABLE: Final = (
    OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError, kopf.LoginError
)  # fmt: skip


def login() -> kopf.ConnectionInfo:
    """Fresh credentials. Raises ``ClusterError`` where there is neither."""
    settings = kopf.OperatorSettings()
    try:
        found = kopf.login_with_service_account(settings=settings)
        found = found or kopf.login_with_kubeconfig(settings=settings)
    except UNREADABLE as error:
        said = " ".join(str(error).split())
        raise ClusterError(f"the kubeconfig cannot be read: {said}; set KUBECONFIG") from error
    if not isinstance(found, kopf.ConnectionInfo):
        raise ClusterError("no cluster: run in a pod with a service account, or set KUBECONFIG")
    return found
