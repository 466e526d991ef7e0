"""Passwords and tokens stay out of whatever is shown or recorded."""

from __future__ import annotations

import re

NAMES = "key|token|secret|passw|credential|private"
"""Parts of the names of what is secret."""


def has_secret(text: str) -> bool:
    """Whether a URL in it has a password or token."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """``text`` with the password or token of any URL in it blotted out."""
    text = re.sub(r"(://[^:/@\s]*):(?!\d+(?:/|\s|$))\S+@", r"\1:***@", text)
    text = re.sub(r"(https?://)[^:/@\s]+@", r"\1***@", text)
    return re.sub(rf"([?&][\w.-]*(?:{NAMES})[\w.-]*=)[^&\s'\"]+", r"\1***", text, flags=re.IGNORECASE)
