"""Where the numbers of a benchmark that writes JSON go."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


def tell(result: dict[str, Any], out: Path | None) -> None:
    """Prints ``result`` with a word on the machine, and writes it to ``out`` where one is given."""
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end"
    text = json.dumps({**result, "machine": machine}, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")
