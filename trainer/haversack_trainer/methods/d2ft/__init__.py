"""D2FT: which parts of the model train on which micro-batch is scheduled; between peers, Dec-LoRA."""
