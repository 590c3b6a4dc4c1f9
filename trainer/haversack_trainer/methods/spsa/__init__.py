"""SPSA with shared randomness: one byte per direction (after arXiv 2306.10015 and MeZO, arXiv 2305.17333)."""
