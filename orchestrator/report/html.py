"""Pieces of a page, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

LIVE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a page may load: nothing that does not stand in it."""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page, which asks nobody for anything."""
    style, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{LIVE}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>{''.join(body)}"
        f"<script>{script}</script></body></html>\n"
    )


def section(title: str, how: str, *parts: str) -> str:
    """A part of the page; ``how`` says how to read it."""
    return f'<section><h2>{escape(title)}</h2><p class="how">{escape(how)}</p>{"".join(parts)}</section>'


def paragraph(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def tile(name: str, value: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>'


def tag(kind: str) -> str:
    """A state or a verdict, in its colour."""
    return f'<b class="v {escape(kind)}">{escape(kind)}</b>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """``rows`` hold HTML; the columns of these numbers are numbers."""
    kinds = [' class="n"' if i in numeric else "" for i in range(len(columns))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(title: str, *parts: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def code(lines: str) -> str:
    return f"<pre>{escape(lines)}</pre>"
