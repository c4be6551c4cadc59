"""Texts of somebody else that try to be more than one line of a log."""

from __future__ import annotations

import re
import unicodedata

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
    "folding without a mark": "::gr\u200boup::",
    "command": "::error file=a.py,line=1::no",
    "old command": "##[error]no ##vso[task.complete result=Failed]",
    "invisible letters": "a\u034fb\u115fc\u3164d\U000e0100e",
    "group with nothing in it": "::gr\x00oup::",
}

#: All of it at once.
EVIL = (
    "x\n[2026-11-26 12:00:00] INFO - Task succeeded\x1b[2J\x1b[31m\u202e\u200b ::group::a ::endgroup:: ::error::b"
)


def check_harmless(text):
    """Check that a text is one line that shows all it holds, and commands no log page or CI runner."""
    assert text.replace("\t", "").isprintable(), ascii(text)
    assert len(text.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in text} & {"Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not re.search("[\u034f\u115f\u1160\u3164\U000e0100-\U000e01ef]", text)
    for command in ("::group::", "::endgroup::", "::error ", "::error::", "##[", "##vso["):
        assert command not in text
    text.encode()
