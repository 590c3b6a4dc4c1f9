"""Haversack's trainer: one peer, or the run log's hub, of a fine-tuning job."""
