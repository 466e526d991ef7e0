"""A temporary folder that goes when its process ends, however that happens: Ray kills ranks that have lost a peer or
their driver, and these can't tidy up.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

SWEEPER = 'exec 3<&0; (read -r _; rm -rf -- "$1") <&3 3<&- &'
"""Waits in the background, as no child of this process, until nobody holds the other end of its input."""


def scratch_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gansweep-"))
    end, _ = os.pipe()  # of the other end the kernel lets go with this process
    command = ["sh", "-c", SWEEPER, "sh", str(folder)]
    subprocess.run(
        command, stdin=end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, check=True
    )
    os.close(end)
    return folder
