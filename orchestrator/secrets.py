"""Passwords and tokens stay out of whatever is shown or recorded."""

from __future__ import annotations

import re


def without_secrets(text: str) -> str:
    """``text`` with the password or token of any URL in it blotted out."""
    text = re.sub(r"(://[^:/@\s]*):(?!\d+(?:/|\s|$))\S+@", r"\1:***@", text)
    text = re.sub(r"(https?://)[^:/@\s]+@", r"\1***@", text)
    return re.sub(r"([?&](?:password|token|secret)=)[^&\s'\"]+", r"\1***", text, flags=re.IGNORECASE)
