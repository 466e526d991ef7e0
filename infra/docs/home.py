"""What MkDocs is told beyond its settings: which page is the start, and how tables look."""

from typing import Any


def on_nav(nav: Any, **_: Any) -> Any:
    """MkDocs looks for a start page at the top; ours is the first of the navigation."""
    nav.homepage = nav.pages[0]
    return nav


def on_page_content(html: str, **_: Any) -> str:
    """The theme gives tables their lines in a script that ends early where there is no search."""
    return html.replace("<table>", '<table class="table">')
