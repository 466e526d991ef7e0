"""Addresses: what is local, what is S3, and what leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from trainers.config import Data, Evaluate
from trainers.files.places import database, is_missing, place


def test_a_local_path_is_absolute_whatever_it_is_written_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    given = ("pics", "~/pics", "/a b/c#d%", "file:///a%20b/c", "file:/a", "FILE://localhost/a", "s3")
    assert [place(text) for text in given] == [
        *(f"{tmp_path}/pics", "/home/ann/pics", "/a b/c#d%", "/a b/c", "/a", "/a", f"{tmp_path}/s3"),
    ]
    assert place(place("pics")) == place("pics")


def test_s3_is_s3_in_either_case() -> None:
    assert [place(text) for text in ("s3://b/my faces", "S3://b")] == ["s3://b/my faces", "s3://b"]


@pytest.mark.parametrize(
    "text", ["gs://b/x", "s3a://b", "https://x/y", "s3:/b", "s3://", "file://host/x", "hf://d", " "]
)
def test_an_address_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"give a folder,? or s3://bucket/prefix"):
        place(text)
    with pytest.raises(ValidationError):
        Data(name="parquet", path=("a", text))
    with pytest.raises(ValidationError):
        Evaluate(extractor=f"torchscript:{text}")


def test_what_a_path_means_to_a_reader_from_outside_it_knows_itself() -> None:
    assert Data(name="mine:load", path="gs://b/x").path == "gs://b/x"
    assert Evaluate(extractor="mine:Extractor").extractor == "mine:Extractor"


def test_a_list_is_for_parquet() -> None:
    with pytest.raises(ValidationError, match="give one folder; a list is for Parquet"):
        Data(name="images", path=("/a", "/b"))
    assert Data(name="parquet", path=("/a", "/b")).places == ("/a", "/b")


def test_sqlite_files_are_absolute_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert database("sqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    for text in ("auto", "http://host", "sqlite:////a.db", "sqlite:///:memory:", "postgresql://u@h/d"):
        assert database(text) == text


def test_patterns_are_missing_where_nothing_fits(tmp_path: Path) -> None:
    (tmp_path / "a[1].parquet").touch()
    given = {"a[1].parquet": False, "*.parquet": False, "b*": True, "b": True}
    assert {text: is_missing(str(tmp_path / text)) for text in given} == given
    assert not is_missing("s3://bucket/anything")
