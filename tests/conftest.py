"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A deadline per example would assert time, and machines are shared.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")
