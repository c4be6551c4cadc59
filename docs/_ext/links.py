"""
Find broken links in built pages.

A link within the documentation must lead to an existing file and an existing anchor in it. An external link cannot
be followed without a network, so only its form is checked.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect links and anchors of a tag."""
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def problems(folder: Path) -> list[str]:
    """
    Check all pages below a folder.

    :return: a sentence for each broken link.
    """
    pages = {path.resolve(): _Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    return [
        f"{path.relative_to(folder.resolve())}: the link {link!r} {wrong}"
        for path, page in pages.items()
        for link in page.links
        if (wrong := _wrong(link, path, pages))
    ]


def _wrong(link: str, path: Path, pages: dict[Path, _Page]) -> str | None:
    url = urlsplit(link)
    if url.scheme == "data":
        return None
    if url.scheme or url.netloc:
        return _wrong_outside(link)
    target = (path.parent / unquote(url.path)).resolve() if url.path else path
    if not target.is_file():
        return "leads to no file"
    place = unquote(url.fragment)
    if place and target in pages and place not in pages[target].places:
        return f"leads to no place in {target.name}"
    return None


def _wrong_outside(link: str) -> str | None:
    url = urlsplit(link)
    if url.scheme != "https":
        return "does not begin with https://"
    if not url.hostname or "." not in url.hostname or any(c.isspace() for c in link) or link[-1] in ".,;:)'":
        return "is no whole address"
    return None
