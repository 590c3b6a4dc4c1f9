"""Is this container's process well? For engines without probes; Kubernetes has its own.

The operator answers on ``/healthz``, a hub listens where it was told to. A peer opens no port: it is
as well as its process, and the hub's lease tells the rest.
"""

from __future__ import annotations

import os
import socket
import sys
from http import HTTPStatus
from http.client import HTTPConnection

SECONDS = 2.0


def operator() -> bool:
    """True if ``/healthz`` says so."""
    port = int(os.environ.get("HAVERSACK_OPERATOR_METRICS_PORT", "8080"))
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("GET", "/healthz")
    return connection.getresponse().status == HTTPStatus.OK


def trainer() -> bool:
    """True if the hub's port is open, or there is a process at all."""
    address, _, port = os.environ.get("HAVERSACK_LISTEN", "").rpartition(":")
    if port:
        socket.create_connection((address or "127.0.0.1", int(port)), SECONDS).close()
    else:
        os.kill(1, 0)
    return True


if __name__ == "__main__":
    try:
        well = {"operator": operator, "trainer": trainer}[sys.argv[1]]()
    except OSError as error:
        sys.exit(f"not well: {error}")
    sys.exit(0 if well else "not well")
