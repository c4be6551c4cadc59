"""Untrusted text becomes one bounded line without control characters."""

import pytest

from airflow_provider_kernel.client.sanitize import sanitize_line


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
