"""Passwords and keys in what is shown, logged or recorded."""

from __future__ import annotations

import pytest

from orchestrator.secrets import without_secrets
from orchestrator.tracking import answers


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at http://me:hunter2@host/x: no", "at http://me:***@host/x: no"),
        ("postgresql://me:p@ss:w@rd@host/db", "postgresql://me:***@host/db"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("s3://AKIA:sec/ret@bucket/x", "s3://AKIA:***@bucket/x"),
        ("https://dapi0123@host/x", "https://***@host/x"),
        ("postgresql://h/db?user=me&password=hunter2", "postgresql://h/db?user=me&password=***"),
        ("postgresql://h/db?sslpassword=hunter2&api_key=abc&x=1", "postgresql://h/db?sslpassword=***&api_key=***&x=1"),
        ("http://127.0.0.1:5000/models@champion", "http://127.0.0.1:5000/models@champion"),
        ("models:/digits@champion", "models:/digits@champion"),
    ],
)
def test_secrets_are_blotted_out(text: str, clean: str):
    assert without_secrets(text) == clean


def test_secrets_are_blotted_out_before_a_long_message_is_cut():
    assert "hunter2" not in answers.words(OSError("." * 180 + "http://me:hunter2-and-more@host"))
