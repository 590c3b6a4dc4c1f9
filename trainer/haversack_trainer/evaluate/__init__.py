"""Held-out losses, paired intervals, the gate."""
