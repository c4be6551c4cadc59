"""
Write code and tables into the pages: ``uv run python docs/write_pages.py``; with ``--check`` only compare.

A page can be read anywhere as it is. What comes from elsewhere stands between marks:

- ``<!-- code: snippets/hook.py section=errors -->`` and a fenced block: a file that tests run, or a part of it. The
  part is a section between ``# [errors]`` and ``# [/errors]``, or what follows ``from="..."`` up to ``to="..."``.
- ``<!-- generated: arguments module.Class -->`` up to ``<!-- end -->``: what ``_ext/generated.py`` says.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

CODE = re.compile(r"^<!-- code: (.*?) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^<!-- generated: (.*?) -->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """List the pages."""
    return sorted(DOCS.rglob("*.md"))


def written(page: Path) -> str:
    """Return what a page should say."""
    from generated import GENERATED

    def code(mark: re.Match[str]) -> str:
        return f"<!-- code: {mark[1]} -->\n```{mark[2]}\n{excerpt(page.parent, mark[1])}\n```"

    def table(mark: re.Match[str]) -> str:
        name, *arguments = mark[1].split()
        return f"<!-- generated: {mark[1]} -->\n\n{GENERATED[name](*arguments)}\n\n<!-- end -->"

    return TABLE.sub(table, CODE.sub(code, page.read_text()))


def excerpt(folder: Path, words: str) -> str:
    """
    Return a file, or a part of it, without its indentation and the blank lines around it.

    :param folder: of the page.
    :param words: the file and what of it.
    :raises ValueError: when there is no such part.
    """
    path, *options = shlex.split(words)
    lines = (folder / path).read_text().splitlines()
    for option in options:
        name, _, text = option.partition("=")
        if name == "section":
            lines = lines[_find(lines, f"# [{text}]", words) + 1 : _find(lines, f"# [/{text}]", words)]
        elif name == "from":
            lines = lines[_find(lines, text, words) :]
        elif name == "to":
            lines = lines[: _find(lines, text, words) + 1]
        else:
            raise ValueError(f"{words}: {name!r} is none of section, from and to")
    return textwrap.dedent("\n".join(lines)).strip("\n")


def _find(lines: list[str], text: str, words: str) -> int:
    for number, line in enumerate(lines):
        if text in line:
            return number
    raise ValueError(f"{words}: no line has {text!r}")


def main() -> int:
    """Write the pages, or compare them, and return the exit status."""
    stale = [page for page in pages() if written(page) != page.read_text()]
    for page in stale:
        if "--check" in sys.argv:
            print(f"{page.relative_to(DOCS.parent)} is not up to date: uv run python docs/write_pages.py")
        else:
            page.write_text(written(page))
    return int("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
