"""How peers reach one another: an ordered log and content-addressed blobs."""
