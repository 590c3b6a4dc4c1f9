"""Noise, and what it is worth: the one account of differential privacy for all methods. Pure but for the noise."""
