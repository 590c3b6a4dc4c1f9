"""The only room that touches the world: a real API server, or this machine."""
