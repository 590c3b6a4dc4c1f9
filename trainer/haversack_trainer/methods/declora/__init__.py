"""Dec-LoRA (Ghiasvand, Alizadeh, Pedarsani; arXiv 2501.15361)."""
