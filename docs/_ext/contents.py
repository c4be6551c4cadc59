"""
The pages and their order, and the two pages of which the built site shows more than the file.

``index.md`` gets the navigation, and ``changelog.md`` the text of the repository's ``CHANGELOG.md``: as files, they
are Markdown that reads well anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CONTENTS = {
    "Start": ("quickstart", "browser-tutorial", "from-nothing", "connection", "modes", "examples"),
    "What there is": (
        "operators/browser",
        "operators/playwright",
        "operators/invoke",
        "operators/sensor",
        "operators/complete",
        "operators/cancel",
        "operators/update",
        "operators/hook",
        "operators/links",
        "operators/callback",
        "operators/orphans",
        "operators/trigger",
    ),
    "When Kernel comes first": (
        "operators/answer",
        "operators/kernel-app",
        "operators/notifier",
        "operators/asset",
    ),
    "Run it": (
        "what-happens",
        "options",
        "limits",
        "idioms",
        "outages",
        "kill-matrix",
        "performance",
        "testing",
        "errors",
        "upgrade",
        "changelog",
    ),
    "Reference, of which only the built site shows all": (
        "api/operators",
        "api/hook",
        "api/errors",
        "api/models",
        "api/client",
        "api/requests",
        "api/testing",
        "architecture",
    ),
}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        for caption, pages in CONTENTS.items():
            lines = [
                "",
                "```{toctree}",
                ":hidden:",
                f":caption: {caption.partition(',')[0]}",
                "",
                *pages,
                "```",
                "",
            ]
            source[0] += "\n".join(lines)
    elif page == "changelog":
        source[0] = (Path(app.srcdir).parent / "CHANGELOG.md").read_text()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
