"""Job file and environment to frozen settings; ``ConfigError`` names the field and what to change."""

from .checks import check_job
from .errors import ConfigError
from .load import HubConfig, PeerConfig, load_hub, load_peer

__all__ = ["ConfigError", "HubConfig", "PeerConfig", "check_job", "load_hub", "load_peer"]
