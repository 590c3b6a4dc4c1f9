"""Haversack's operator: places the peers of a FineTuneJob and keeps them as wanted."""
