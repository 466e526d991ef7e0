"""The settings of a sweep file, and what can be wrong between them. ``orchestrator/spec.py`` reads the file."""
