"""The API objects: frozen models, their rules and names."""
