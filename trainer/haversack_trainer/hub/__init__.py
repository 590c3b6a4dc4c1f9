"""The run log's server."""
