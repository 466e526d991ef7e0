"""The gate, and generators in the MLflow model registry."""
