"""Warns about every broken link of the built pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from links import problems
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)


def _check(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for problem in problems(Path(app.outdir)):
            log.warning(problem)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the check to run after a build."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
