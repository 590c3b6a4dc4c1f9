"""``python -m haversack_trainer.main``: the same as ``haversack-trainer``."""

from . import main

main()
