"""Where the API server is, and as whom we speak: a pod's service account, or a kubeconfig."""

from __future__ import annotations

import kopf

from .base import ClusterError


def login() -> kopf.ConnectionInfo:
    """Fresh credentials. Raises ``ClusterError`` where there is neither."""
    settings = kopf.OperatorSettings()
    found = kopf.login_with_service_account(settings=settings)
    found = found or kopf.login_with_kubeconfig(settings=settings)
    if not isinstance(found, kopf.ConnectionInfo):
        raise ClusterError("no cluster: run in a pod with a service account, or set KUBECONFIG")
    return found
