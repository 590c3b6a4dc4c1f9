"""Objects by key, in a folder or in S3, behind one Protocol."""
