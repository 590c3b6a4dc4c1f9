"""Names of the variables and folders that a pod hands to the trainer."""

from __future__ import annotations

from typing import Final

JOB_FILE: Final = "HAVERSACK_JOB_FILE"
"""Path of the job file (``jobfile.JobFile`` as JSON)."""
PEER: Final = "HAVERSACK_PEER"
"""This peer's ordinal in the job, 0 .. 65534. Stable over restarts and replacements."""
ATTEMPT: Final = "HAVERSACK_ATTEMPT"
"""How many pods this peer has had before this one."""
NODE: Final = "HAVERSACK_NODE"
"""Name of the node, for reports."""
MICRO_BATCH_SIZE: Final = "HAVERSACK_MICRO_BATCH_SIZE"
"""Samples in one forward pass, as chosen by placement for this peer's node."""
PROCESSES: Final = "HAVERSACK_PROCESSES"
"""Processes of this peer's pod, one per accelerator; not set for one."""
PROCESS: Final = "HAVERSACK_PROCESS"
"""Set by the pod's first program for each of its processes: 0 is the peer, the others follow it."""
MEETING: Final = "HAVERSACK_MEETING"
"""Set by the pod's first program: a file at which its processes find one another."""
EXTENSIONS: Final = "TORCH_EXTENSIONS_DIR"
"""torch's own: where compiled extensions go. In the pod's work folder, so that no other pod's lock is found there."""
INTERFACE: Final = "GLOO_SOCKET_IFNAME"
"""gloo's own: the processes of a pod talk over loopback."""
HUB_URL: Final = "HAVERSACK_HUB_URL"
"""``https://host:port`` of the run log."""
HUB_NAME: Final = "HAVERSACK_HUB_NAME"
"""Name in the hub's certificate, whatever address it is reached by."""
ADDRESS: Final = "HAVERSACK_ADDRESS"
"""Where the other peers reach this one; needed with ``network.bulk: Direct`` only."""
LISTEN: Final = "HAVERSACK_LISTEN"
"""Hub only: ``address:port`` to listen on."""
AWAIT_LOG: Final = "HAVERSACK_AWAIT_LOG"
"""Hub only: ``1`` where peers run that hold the run's log. A hub that finds none on its disk then waits for theirs."""
TLS_DIR: Final = "HAVERSACK_TLS_DIR"
"""Folder with ``ca.crt``, ``tls.crt`` and ``tls.key``."""
WORK_DIR: Final = "HAVERSACK_WORK_DIR"
"""Writable scratch folder that lives as long as the pod."""
CACHE_DIR: Final = "HAVERSACK_CACHE_DIR"
"""Writable folder for downloads, which may outlive the pod."""

JOB_MOUNT: Final = "/etc/haversack/job"
TLS_MOUNT: Final = "/etc/haversack/tls"
WORK_MOUNT: Final = "/var/lib/haversack"
CACHE_MOUNT: Final = "/var/cache/haversack"
CLAIM_MOUNT: Final = "/mnt/haversack"
"""``pvc://claim/path`` is mounted at ``/mnt/haversack/claim``."""

SHARED_MEMORY_MOUNT: Final = "/dev/shm"  # noqa: S108  # the container's own

HUB_PORT: Final = 8443
GROUP_PORTS: Final = (40_000, 44_095)
"""First and last port that peers listen on for one another: their pods' ephemeral ports. gloo asks the kernel for
one and cannot be told which."""
MAX_PROCESSES: Final = 16
