"""MLflow runs, written in batches from an append-only spool that survives any crash."""
