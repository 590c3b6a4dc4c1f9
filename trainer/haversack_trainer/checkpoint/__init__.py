"""States and adapters in the store, manifest last."""
