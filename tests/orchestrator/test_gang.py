"""How a gang starts."""

from __future__ import annotations

import subprocess
import sys


def test_a_slot_starts_its_other_ranks_before_it_imports_torch():
    """They all import for seconds, and do so at once."""
    asked = "import sys, orchestrator.execution.leg; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
