"""Where the demo talks to a person, apart from Airflow's logs."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

#: The width of tables where there is no terminal to ask.
PLAIN_WIDTH = 118


class Terminal:
    """
    Prints to the standard output, also while that is turned away to a file.

    :param stream: where to print.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self._started

    def say(self, text: str = "") -> None:
        """
        Print lines.

        :param text: one or more.
        """
        # In one piece: lines come from two threads.
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def event(self, text: str) -> None:
        """
        Print a line with the time.

        :param text: what happened.
        """
        self.say(f"{self.seconds:6.1f} s  {text}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """
        Print a table; the last column is wrapped where it does not fit.

        :param columns: their titles.
        :param rows: their cells.
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
    Give a terminal, and turn everything else that this process prints away to a file meanwhile.

    On the level of the file descriptors: Airflow, its loggers and warnings write to several streams, some of which
    they keep from before.

    :param log_file: the file, made anew; ``None`` turns nothing away.
    """
    if log_file is None:
        yield Terminal(sys.stdout)
        return
    _flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with contextlib.ExitStack() as cleanup:
        # Not closed with the descriptor, which goes back to its place below.
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
