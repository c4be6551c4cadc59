"""Untrusted text becomes one bounded line without control characters, or commands to a log page."""

import pytest
from support.hostile_text import EVIL, HOSTILE, check_harmless

from airflow_provider_kernel.client.errors import KernelAPIError, KernelError
from airflow_provider_kernel.client.sanitize import MAX_LENGTH, escape_untrusted, sanitize_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two\nlines\r\n and\ttabs ", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("naïve 日本", "naïve 日本"),
        ("\x00\x1f", ""),
        ("", ""),
    ],
)
def test_untrusted_text_becomes_one_harmless_line(text, line):
    assert sanitize_line(text) == line


def test_long_untrusted_text_is_cut_with_an_ellipsis():
    assert sanitize_line("x" * 1000) == "x" * 300 + "…"
    assert sanitize_line("x" * 300) == "x" * 300


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
        ("::error file=a::b", r"\x3a:error file=a::b"),
        (" ::add-mask::a", r" \x3a:add-mask::a"),
        ("std::error::Error", "std::error::Error"),
        ("##[error]a ##vso[b]", r"\x23#[error]a \x23#vso[b]"),
        ("## a [b]", "## a [b]"),
        ("a\u034fb\u3164\U000e0100", r"a\u034fb\u3164\U000e0100"),
    ],
    ids=ascii,
)
def test_what_is_not_plainly_visible_or_a_command_becomes_an_escape(text, shown):
    assert escape_untrusted(text) == shown


@pytest.mark.parametrize("text", [*HOSTILE.values(), EVIL], ids=[*HOSTILE, "all"])
def test_hostile_text_is_one_visible_line_and_escaped_once(text):
    shown = escape_untrusted(text)
    check_harmless(shown)
    assert escape_untrusted(shown) == shown
    check_harmless(sanitize_line(text))


@pytest.mark.parametrize("text", [*HOSTILE.values(), EVIL], ids=[*HOSTILE, "all"])
def test_message_of_an_error_is_one_visible_line(text):
    check_harmless(str(KernelError(text)))
    check_harmless(str(KernelAPIError(text, status_code=500, code=text, details=[(text, text)], request_id=text)))


def test_no_character_at_all_breaks_a_line():
    every = "".join(map(chr, range(1, 0x3000))) + "".join(map(chr, range(0xD7F0, 0xE010))) + "\uffff\U0010ffff"
    for start in range(0, len(every), 1000):
        shown = escape_untrusted(f"<{every[start : start + 1000]}>")
        assert len(shown.splitlines()) == 1
        assert shown.replace("\t", "").isprintable()
        assert (shown[0], shown[-1]) == ("<", ">")


@pytest.mark.parametrize(
    "text", ["", " ", "plain", "Grüße, 世界, Привет", "😀🇩🇪❤️", "\ta\tb\t", "100 %s", "\\n", "€ ½ … — “x”"]
)
def test_what_is_visible_is_kept(text):
    assert escape_untrusted(text) == text


def test_long_text_is_cut_and_that_is_said():
    assert (
        escape_untrusted("\x00" * 1_000_000)
        == r"\x00" * MAX_LENGTH + f"… ({1_000_000 - MAX_LENGTH} more characters)"
    )


@pytest.mark.parametrize("more", [0, 1])
def test_text_that_just_fits_is_not_cut(more):
    assert escape_untrusted("ü" * (MAX_LENGTH + more)) == "ü" * MAX_LENGTH + "… (1 more characters)" * more


def test_fake_record_stays_in_the_line():
    assert escape_untrusted(HOSTILE["fake record"]) == r"ok\n[2026-01-01 00:00:00] ERROR - disk is full"
