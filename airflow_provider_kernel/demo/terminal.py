"""The demo's own output, separate from Airflow's logs."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

#: Width of tables when the output is no terminal.
PLAIN_WIDTH = 118


class Terminal:
    """
    Prints to the standard output, also while everything else is redirected to a file.

    :param stream: the stream to print to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started

    def say(self, text: str = "") -> None:
        """Print one or more lines."""
        # In one write: two threads print lines.
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def event(self, text: str) -> None:
        """Print a line with the seconds since the demo began."""
        self.say(f"{self.seconds:6.1f} s  {text}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """
        Print a table; the last column wraps.

        :param columns: titles of the columns.
        :param rows: the cells of each row.
        """
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for column in columns[:-1]:
            table.add_column(column, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        width = None if self._stream.isatty() else PLAIN_WIDTH
        console = Console(file=self._stream, width=width, highlight=False)
        with console.capture() as capture:
            console.print(table)
        self.say("\n".join(line.rstrip() for line in capture.get().splitlines()))


@contextlib.contextmanager
def terminal(log_file: Path | None) -> Iterator[Terminal]:
    """
    Yield a terminal, and redirect everything else that this process prints to a file meanwhile.

    This redirects file descriptors: Airflow, its loggers and warnings keep references to several streams.

    :param log_file: the file, truncated first; None redirects nothing.
    """
    if log_file is None:
        yield Terminal(sys.stdout)
        return
    _flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with contextlib.ExitStack() as cleanup:
        # closefd=False: the descriptor is restored and closed below.
        stream = cleanup.enter_context(
            os.fdopen(kept[0], "w", encoding=sys.stdout.encoding, errors="replace", closefd=False)
        )
        with log_file.open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        try:
            yield Terminal(stream)
        finally:
            _flush()
            for descriptor, copy in enumerate(kept, start=1):
                os.dup2(copy, descriptor)
                os.close(copy)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
