"""``python -m orchestrator`` is ``gansweep``."""

from orchestrator.cli import main

main()
