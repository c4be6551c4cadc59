from __future__ import annotations

import io
import json
import logging
import threading
import unicodedata

import pytest
import structlog
from airflow.sdk import BaseHook
from airflow.sdk.log import logging_processors

from airflow_provider_kernel.client.resources.invocations.models import LogLine, StreamError
from airflow_provider_kernel.task_log.writer import MAX_LINE_LENGTH, InvocationLog, escape_untrusted

#: Lines that want to be more than a line.
HOSTILE = {
    "newline": "a\nb",
    "CRLF": "a\r\nb",
    "CR": "password: \rall is well",
    "ANSI": "\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07",
    "C1": "a\x9b31mb\x85c",
    "NUL": "a\x00b",
    "BEL": "a\x07b",
    "backspace": "abc\b\b\bxyz",
    "vertical tab": "a\vb\fc\x1cd",
    "delete": "a\x7fb",
    "bidi": "abc\u202egpj.exe\u202c\u2066x\u2069\u200f",
    "U+2028": "a\u2028b",
    "U+2029": "a\u2029b",
    "U+0085": "a\x85b",
    "surrogates": "a\ud800b\udfffc",
    "BOM": "\ufeffa",
    "zero width": "a\u200bb\u2060",
    "noncharacter": "a\ufffeb\U000e0001",
    "fake record": "ok\n[2026-01-01 00:00:00] ERROR - disk is full",
    "fake mark": "ok\nkernel | error in the event stream: none",
    "format": "100%s %d %(name)s {0} {name} %",
    "markup": "[bold red]x[/] <b>",
    "escapes": "\\n \\x1b",
    "group": "::endgroup::",
    "groups": ":::group::::endgroup::group::x",
    "group with nothing in it": "::gr\x00oup::",
}


BEGIN = ("info", "::group::Log of invocation abc")
END = ("info", "::endgroup::")


def error(**fields):
    return StreamError.model_validate({"error": fields})


class TestHarmless:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a\nb", r"a\nb"),
            ("a\r\nb", r"a\r\nb"),
            ("a\rb", r"a\rb"),
            ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
            ("a\x9b31m", r"a\x9b31m"),
            ("a\x00b", r"a\x00b"),
            ("a\x07b", r"a\x07b"),
            ("a\bb", r"a\x08b"),
            ("a\x7fb", r"a\x7fb"),
            ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
            ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
            ("a\ud800b\udfff", r"a\ud800b\udfff"),
            ("\U000e0001", r"\U000e0001"),
            ("a\tb\n\tc", "a\tb\\n\tc"),
            ("::group::mine", r"\x3a:group::mine"),
            ("x::endgroup::::group::y", r"x\x3a:endgroup::\x3a:group::y"),
            ("::endgroup::group::", r"\x3a:endgroup\x3a:group::"),
            ("a::b group:: ::groups::", "a::b group:: ::groups::"),
        ],
        ids=ascii,
    )
    def test_what_is_not_plainly_visible_becomes_an_escape(self, text, shown):
        assert escape_untrusted(text) == shown

    @pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
    def test_whatever_it_holds_is_one_visible_line(self, text):
        shown = escape_untrusted(text)
        assert shown.replace("\t", "").isprintable()
        assert len(shown.splitlines()) == 1
        assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        shown.encode()
        assert "::group::" not in shown
        assert "::endgroup::" not in shown

    def test_no_character_at_all_breaks_a_line(self):
        every = "".join(map(chr, range(1, 0x3000))) + "".join(map(chr, range(0xD7F0, 0xE010))) + "\uffff\U0010ffff"
        for start in range(0, len(every), 1000):
            shown = escape_untrusted(f"<{every[start : start + 1000]}>")
            assert len(shown.splitlines()) == 1
            assert shown.replace("\t", "").isprintable()
            assert (shown[0], shown[-1]) == ("<", ">")

    @pytest.mark.parametrize(
        "text", ["", " ", "plain", "Grüße, 世界, Привет", "😀🇩🇪", "\ta\tb\t", "100 %s", "\\n", "€ ½ … — “x”"]
    )
    def test_what_is_visible_is_kept(self, text):
        assert escape_untrusted(text) == text

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
    def test_the_final_line_break_is_none_of_it(self, end):
        assert escape_untrusted(f"a {end}") == "a "
        assert escape_untrusted(end) == ""

    def test_a_long_line_is_cut_and_that_is_said(self):
        shown = escape_untrusted("x" * 1_000_000 + "\n")
        assert shown == "x" * 65_536 + "… (934464 more characters)"

    @pytest.mark.parametrize("more", [0, 1])
    def test_one_that_just_fits_is_not_cut(self, more):
        shown = escape_untrusted("ü" * (MAX_LINE_LENGTH + more) + "\r\n")
        assert shown == "ü" * MAX_LINE_LENGTH + "… (1 more characters)" * more

    def test_a_long_line_of_controls_is_bounded_too(self):
        shown = escape_untrusted("\x00" * 1_000_000)
        assert shown == r"\x00" * MAX_LINE_LENGTH + "… (934464 more characters)"

    def test_a_fake_record_stays_in_the_line(self):
        assert escape_untrusted("[2026-01-01 00:00:00] ERROR - no\n") == "[2026-01-01 00:00:00] ERROR - no"
        assert escape_untrusted(HOSTILE["fake record"]) == r"ok\n[2026-01-01 00:00:00] ERROR - disk is full"


@pytest.fixture(params=["stdlib", "Airflow, JSON", "Airflow, console"])
def make_log(request, caplog):
    """Make an ``InvocationLog``, and a function that tells its records: pairs of level and text."""
    if request.param == "stdlib":
        caplog.set_level(logging.INFO)

        def stdlib_records():
            return [(record.levelname.lower(), record.getMessage()) for record in caplog.records]

        yield lambda **options: (InvocationLog(logging.getLogger("a.task"), "abc", **options), stdlib_records)
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

    yield lambda **options: (InvocationLog(Hook().log, "abc", **options), airflow_records)
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
        assert text.endswith("… (934463 more characters)")
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
                r"GET /invocations/abc/events: 404 not_found: \x1b[31mgone",
            ),
        ]

    def test_it_counts_what_came(self):
        log = InvocationLog(logging.getLogger("a.task"), "abc", max_lines=1)
        for _ in range(3):
            log.write(LogLine(message="m"))
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
