"""What is only for information harms neither the log nor the work."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.hostile_text import EVIL, check_harmless

from airflow_provider_kernel._compat import AirflowTaskTimeout, TaskDeferred
from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.client.safe_logger import SafeLogger, get_logger, only_informs, side_information


@pytest.fixture
def texts(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_record_is_one_harmless_line(level, texts):
    write = getattr(get_logger("a.module"), level)
    write("before %s after", EVIL)
    write(f"before {EVIL} after")
    assert len(texts()) == 2
    for shown in texts():
        check_harmless(shown)
        assert shown.startswith("before ")
        assert shown.endswith(" after")


def test_record_has_the_level_and_the_place_of_its_call(caplog):
    get_logger("a.module").log(logging.WARNING, "%d %% of %s", 5, "all")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.name) == ("WARNING", "5 % of all", "a.module")
    assert (record.pathname, record.funcName) == (__file__, "test_record_has_the_level_and_the_place_of_its_call")


def test_traceback_is_a_harmless_record_for_each_line(texts):
    def fail():
        raise ValueError(EVIL)

    try:
        fail()
    except ValueError:
        get_logger("a.module").exception("It failed")
    first, *lines = texts()
    assert first == "It failed"
    assert lines[0] == "| Traceback (most recent call last):"
    assert any("Task succeeded" in line for line in lines)
    for line in lines:
        check_harmless(line)
        assert line.startswith("| ")


class _Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


class _Broken:
    def log(self, *args, **options):
        raise OSError("disk full")


@pytest.mark.parametrize(
    ("logger", "arguments"),
    [
        (_Broken(), ("text",)),
        (logging.getLogger("a.module"), ("%s", _Unprintable())),
        (logging.getLogger("a.module"), ("%s %s", "one")),
        (logging.getLogger("a.module"), ("%d", "one")),
    ],
    ids=["logger that fails", "value without a text", "value missing", "value of another type"],
)
def test_log_call_never_raises(logger, arguments):
    SafeLogger(logger).info(*arguments)
    group = SafeLogger(logger).group("title")
    SafeLogger(logger).log_in(group, logging.INFO, *arguments)
    SafeLogger(logger).end(group)


def test_log_call_with_values_that_do_not_fit_shows_them(texts):
    get_logger("a.module").info("%d", "one")
    assert texts() == ["%d ('one',)"]


def test_side_information_that_fails_is_logged_once_without_its_text(texts):
    def look_up():
        raise LookupError("https://live.example?jwt=secret")

    with side_information("The link could not be written", get_logger("a.module")):
        look_up()
    (text,) = texts()
    assert text.startswith(f"The link could not be written: LookupError in look_up(), {__file__}:")


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(),
        asyncio.CancelledError(),
        TaskDeferred(trigger=None, method_name="m"),
        AirflowTaskTimeout(),
        KernelTaskKilledError("killed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_ends_the_work_passes_through_side_information(error, texts):
    def end():
        raise error

    with pytest.raises(type(error)):
        only_informs(end, "It failed", get_logger("a.module"))()
    assert texts() == []
