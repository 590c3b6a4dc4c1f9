"""What the operator and the trainer owe each other. No torch, no I/O.

This is the only part of ``haversack_trainer`` that the operator may import.
"""
