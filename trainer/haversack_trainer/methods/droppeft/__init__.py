"""DropPEFT (Wang, Liu, Xu, Yan, Gao; arXiv 2503.10217)."""
