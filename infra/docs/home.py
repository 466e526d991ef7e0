"""MkDocs looks for a start page at the top; ours is the first of the navigation."""

from typing import Any


def on_nav(nav: Any, **_: Any) -> Any:
    nav.homepage = nav.pages[0]
    return nav
