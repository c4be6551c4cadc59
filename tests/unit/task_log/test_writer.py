from __future__ import annotations

import io
import json
import logging
import threading

import pytest
import structlog
from airflow.sdk import BaseHook
from airflow.sdk.log import logging_processors
from support.hostile_text import HOSTILE

from airflow_provider_kernel.client.resources.invocations.event_models import LogLine, StreamError
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.sanitize import escape_untrusted
from airflow_provider_kernel.task_log.writer import InvocationLog

BEGIN = ("info", "::group::Log of invocation abc")
END = ("info", "::endgroup::")


def error(**fields):
    return StreamError.model_validate({"error": fields})


@pytest.fixture(params=["stdlib", "Airflow, JSON", "Airflow, console"])
def make_log(request, caplog):
    """Make an ``InvocationLog``, and a function that tells its records: pairs of level and text."""
    made = []

    def new(logger, **options):
        made.append(InvocationLog(logger, "abc", **options))
        return made[-1]

    def end_all():
        for log in made:
            log.end()

    if request.param == "stdlib":
        caplog.set_level(logging.INFO)

        def stdlib_records():
            return [(record.levelname.lower(), record.getMessage()) for record in caplog.records]

        yield lambda **options: (new(logging.getLogger("a.task"), **options), stdlib_records)
        end_all()
        return

    as_json = request.param == "Airflow, JSON"
    written = io.BytesIO() if as_json else io.StringIO()
    factory = structlog.BytesLoggerFactory(written) if as_json else structlog.WriteLoggerFactory(written)
    before = structlog.get_config()
    structlog.configure(
        processors=logging_processors(json_output=as_json, colors=False),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )

    class Hook(BaseHook):
        pass

    def airflow_records():
        text = written.getvalue()
        if not as_json:
            # "2026-01-01T00:00:00.000000Z [info     ] text"
            pairs = [line.partition(" ")[2].partition("] ") for line in text.splitlines()]
            return [(level.strip("[ "), message) for level, _, message in pairs]
        return [(document["level"], document["event"]) for document in map(json.loads, text.splitlines())]

    yield lambda **options: (new(Hook().log, **options), airflow_records)
    end_all()
    structlog.configure(**before)


class TestInvocationLog:
    def test_each_line_is_one_record_behind_the_mark(self, make_log):
        log, records = make_log()
        for text in HOSTILE.values():
            log.write(LogLine(message=f"{text}\n"))
        log.write(LogLine(message="after"))
        assert records() == [
            BEGIN,
            *(("info", f"kernel | {escape_untrusted(text)}") for text in HOSTILE.values()),
            ("info", "kernel | after"),
        ]

    def test_a_percent_sign_is_not_formatted(self, make_log):
        log, records = make_log()
        log.write(LogLine(message="100%s %d %(asctime)s %"))
        log.write(error(message="%s"))
        log.end("%d")
        assert [text for _, text in records()[1:]] == [
            "kernel | 100%s %d %(asctime)s %",
            "kernel | error in the event stream: %s",
            "::endgroup::",
            "The invocation's log lines are not shown from here on: %d",
        ]

    def test_an_empty_line_is_a_record_too(self, make_log):
        log, records = make_log()
        log.write(LogLine(message="\n"))
        assert [(level, text.rstrip()) for level, text in records()[1:]] == [("info", "kernel |")]

    def test_a_megabyte_is_one_record(self, make_log):
        log, records = make_log()
        log.write(LogLine(message="x\n" * 500_000))
        _, (level, text) = records()
        assert level == "info"
        assert text.endswith("… (933448 more characters)")
        assert len(text) < 100_000

    def test_an_error_is_a_warning(self, make_log):
        log, records = make_log()
        log.write(error(code="internal", message="oops\n[2026-01-01] INFO"))
        log.write(error())
        assert records() == [
            BEGIN,
            ("warning", r"kernel | error in the event stream: internal: oops\n[2026-01-01] INFO"),
            ("warning", "kernel | error in the event stream: unknown"),
        ]

    def test_only_so_many_and_then_one_says_how_many_more(self, make_log):
        log, records = make_log(max_lines=3)
        for number in range(10):
            log.write(LogLine(message=f"line {number}"))
        assert len(records()) == 4
        log.end()
        assert records() == [
            BEGIN,
            *(("info", f"kernel | line {number}") for number in range(3)),
            END,
            ("info", "7 more lines of the invocation were left out (max_log_lines is 3)"),
        ]

    def test_errors_count_as_lines(self, make_log):
        log, records = make_log(max_lines=1)
        log.write(error(message="a"))
        log.write(error(message="b"))
        log.end()
        assert [text for _, text in records()[1:]] == [
            "kernel | error in the event stream: a",
            "::endgroup::",
            "1 more lines of the invocation were left out (max_log_lines is 1)",
        ]

    @pytest.mark.parametrize("lines", [0, 2, 3])
    def test_nothing_is_said_when_none_was_left_out(self, make_log, lines):
        log, records = make_log(max_lines=3)
        for _ in range(lines):
            log.write(LogLine(message="m"))
        log.end()
        assert len(records()) == (lines + 2 if lines else 0)

    def test_none_when_none_is_wanted(self, make_log):
        log, records = make_log(max_lines=0)
        log.write(LogLine(message="m"))
        log.end()
        assert records() == [("info", "1 more lines of the invocation were left out (max_log_lines is 0)")]

    def test_ten_thousand_by_default(self, caplog):
        caplog.set_level(logging.INFO)
        log = InvocationLog(logging.getLogger("a.task"), "abc")
        for _ in range(10_005):
            log.write(LogLine(message="m"))
        log.end()
        assert len(caplog.records) == 10_003
        assert caplog.records[-1].getMessage().startswith("5 more lines ")

    def test_that_the_stream_was_given_up_is_a_warning(self, make_log):
        log, records = make_log(max_lines=1)
        log.write(LogLine(message="a"))
        log.write(LogLine(message="b"))
        log.end("GET /invocations/abc/events: 404 not_found: \x1b[31mgone\n")
        assert records()[2:] == [
            END,
            ("info", "1 more lines of the invocation were left out (max_log_lines is 1)"),
            (
                "warning",
                "The invocation's log lines are not shown from here on: "
                r"GET /invocations/abc/events: 404 not_found: \x1b[31mgone\n",
            ),
        ]

    def test_it_counts_what_came(self):
        log = InvocationLog(logging.getLogger("a.task"), "abc", max_lines=1)
        for _ in range(3):
            log.write(LogLine(message="m"))
        log.end()
        assert log.lines == 3


class TestTheGroup:
    def test_begins_with_the_first_line_and_ends_once(self, make_log):
        log, records = make_log()
        log.write(LogLine(message="a"))
        log.end()
        log.end("too late")
        assert records() == [BEGIN, ("info", "kernel | a"), END]

    def test_is_not_there_when_nothing_is_streamed(self, make_log):
        log, records = make_log()
        log.end()
        assert records() == []

    def test_what_was_given_up_from_the_start_is_told_without_one(self, make_log):
        log, records = make_log()
        log.end("404")
        assert records() == [("warning", "The invocation's log lines are not shown from here on: 404")]

    def test_a_line_that_comes_after_the_end_opens_none(self, make_log):
        log, records = make_log()
        log.end()
        log.write(LogLine(message="late"))
        assert records() == []
        assert log.lines == 1

    def test_is_closed_by_a_line_of_the_task_and_goes_on_after_it(self, make_log):
        log, records = make_log()
        log.write(LogLine(message="a"))
        get_logger("airflow_provider_kernel.lifecycle").warning("Invocation abc was cancelled")
        log.write(LogLine(message="b"))
        log.end()
        assert [text for _, text in records() if "cancelled" not in text] == [
            BEGIN[1],
            "kernel | a",
            END[1],
            f"{BEGIN[1]} (continued)",
            "kernel | b",
            END[1],
        ]

    def test_ends_whatever_a_thread_still_writes(self, caplog):
        caplog.set_level(logging.INFO)
        log = InvocationLog(logging.getLogger("a.task"), "abc")
        writing, stop = threading.Event(), threading.Event()

        def write():
            while not stop.is_set():
                log.write(LogLine(message="m"))
                writing.set()

        thread = threading.Thread(target=write)
        thread.start()
        writing.wait(5)
        log.end()
        stop.set()
        thread.join()
        texts = [record.getMessage() for record in caplog.records]
        assert texts[0] == BEGIN[1]
        assert texts[-1] == END[1]
        assert set(texts[1:-1]) == {"kernel | m"}
