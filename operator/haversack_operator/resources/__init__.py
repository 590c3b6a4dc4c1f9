"""From a job and its plan to the objects of the API. Pure; nothing here knows a cluster."""

from .pods import PodSettings, hub_pod, peer_pod
from .shared import plan_object, shared_objects

__all__ = ["PodSettings", "hub_pod", "peer_pod", "plan_object", "shared_objects"]
