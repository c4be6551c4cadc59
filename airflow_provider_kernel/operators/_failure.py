"""
How a task fails with an error of this package: short lines that say why, and a traceback that does not hide them.

Airflow's log page shows the text of an exception as one line that is cut at the right edge, among dozens of frames.
The message of a :class:`KernelError` says all, so that it is logged before, and the frames of this package are left
out.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.sanitize import sanitize_line

#: Max characters of the text; the exception has the whole message.
_TEXT_CHARACTERS = 500
#: Max characters of a line: at a width of 1400 pixels, the page cuts longer ones.
_LINE_CHARACTERS = 95

log = get_logger(__name__)


def log_failure(error: KernelError, logger: Any) -> None:
    """Log why the task fails: the cause, then what to do."""
    text = sanitize_line(f"{type(error).__name__}: {error.summary}", _TEXT_CHARACTERS)
    for line in textwrap.wrap(text, _LINE_CHARACTERS, break_on_hyphens=False):
        logger.error("%s", line)
    if sys.exc_info()[1] is error:  # that of an earlier poll is raised as another one
        log.debug("Where it was raised", exc_info=True)


def fail(error: KernelError) -> AirflowFailException:
    """
    Make the exception that fails a task without a retry; to be raised ``from None``.

    :return: an exception whose attribute ``kernel_error`` is the error.
    """
    failure = AirflowFailException(f"{type(error).__name__}: {error}")
    failure.kernel_error = error  # type: ignore[attr-defined]
    return failure


def failure_of(error: KernelError) -> Exception:
    """
    Return what the task fails with; to be raised ``from None``.

    :return: an ``AirflowFailException`` when a retry cannot help, else the error without its frames.
    """
    return fail(error) if error.permanent else error.with_traceback(None)
