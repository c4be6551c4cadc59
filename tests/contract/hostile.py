"""Generated answers of a server that means no good, or is broken: what hypothesis draws, as bytes for a socket."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from hypothesis import strategies as st

#: Echoed wherever a server can put it; it may not get into a message.
KEY = "sk-hostile-0123456789abcdef"

INVOCATION = {
    "id": "rr33xuugxj9h0bkf1rdt2bet",
    "app_name": "shop",
    "version": "latest",
    "action_name": "buy",
    "status": "running",
    "started_at": "2026-06-01T12:00:00.123456789Z",
    "finished_at": None,
    "payload": '{"a": 1}',
    "output": '{"b": [1, 2]}',
    "status_reason": "why not",
}
BROWSER = {
    "session_id": "b1",
    "created_at": "2026-06-01T12:00:00Z",
    "headless": True,
    "stealth": False,
    "timeout_seconds": 60,
    "cdp_ws_url": "wss://x",
    "webdriver_ws_url": "wss://y",
}
APP = {
    "id": "a1",
    "app_name": "shop",
    "version": "1",
    "region": "aws.us-east-1a",
    "deployment": "d1",
    "actions": [{"name": "buy", "input_schema": {"type": "object"}}],
    "env_vars": {"A": ""},
}
AUTH = {
    "authentication": {"method": "api_key", "source": "api_key", "credential_id": "k1"},
    "organization": {"id": "o1"},
    "authorization": {"credential_scope": {"project_id": None}, "effective_scope": {"project_id": "p1"}},
}
ERROR = {
    "code": "bad_request",
    "message": "Missing required field: app_name",
    "details": [{"code": "invalid_input", "message": "no"}],
    "inner_error": {"code": "x", "message": "y"},
}
INVOCATIONS = [
    INVOCATION,
    {**INVOCATION, "status": "succeeded", "finished_at": "2026-06-01T12:00:05Z"},
    {**INVOCATION, "status": "failed"},
]
#: What the API answers to which question.
DOCUMENTS: dict[str, list[Any]] = {
    "invocation": INVOCATIONS,
    "list": [INVOCATIONS, [INVOCATION]],
    "browsers": [{"browsers": [BROWSER, BROWSER]}],
    "apps": [[APP]],
    "auth": [AUTH],
}
EVENTS = [
    {"event": "log", "message": "a line\n", "timestamp": "2026-06-01T12:00:00.5Z"},
    {"event": "invocation_state", "invocation": INVOCATION, "timestamp": "2026-06-01T12:00:00Z"},
    {"event": "error", "error": ERROR, "timestamp": "2026-06-01T12:00:00Z"},
    {"event": "sse_heartbeat", "timestamp": "2026-06-01T12:00:00Z"},
]


class Raw:
    """JSON as it is written, also where it is none."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Raw({self.text[:40]!r}...)"


NASTY: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    -(2**200),
    1e308,
    Raw("1e999"),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("9" * 5000),
    Raw("[" * 3000 + "]" * 3000),
    Raw('{"a":' * 500 + "1" + "}" * 500),
    Raw('"\\ud800"'),
    Raw('"\\u0000\\u001b[31m\\r\\n"'),
    Raw("'x'"),
    "",
    " ",
    "None",
    "\x00",
    "a\nb",
    "\u202e\u2028\x85",
    "x" * 100_000,
    KEY,
    f"Bearer {KEY}",
    {},
    [],
    [[]],
    {"": ""},
    {KEY: KEY},
    "9999-12-31T23:59:59.999999999-23:59",
    "0001-01-01T00:00:00+23:59",
    "2026-02-30T25:61:61Z",
    "succeeded",
    "failed",
    "paused",
]
values = (
    st.sampled_from(NASTY)
    | st.text(max_size=20)
    | st.integers()
    | st.floats()
    | st.lists(st.sampled_from(NASTY), max_size=3)
    | st.dictionaries(st.text(max_size=5), st.sampled_from(NASTY), max_size=3)
)


def written(value: Any) -> str:
    """Write a value as JSON, the raw parts as they are."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@st.composite
def changed(draw: Any, document: Any) -> Any:
    """Draw a document like another, with something replaced, left out or put in at any depth."""
    if draw(st.integers(0, 5)) == 0 or not isinstance(document, (dict, list)) or not document:
        return draw(values)
    if isinstance(document, list):
        place = draw(st.integers(0, len(document) - 1))
        inner = draw(changed(document[place]))
        return [*document[:place], *[inner] * draw(st.integers(0, 2)), *document[place + 1 :]]
    name = draw(st.sampled_from([*document, "extra"]))
    rest = {key: item for key, item in document.items() if key != name}
    return {**rest, name: draw(changed(document.get(name)))} if draw(st.integers(0, 4)) else rest


@st.composite
def texts(draw: Any, documents: list[Any]) -> bytes:
    """Draw a body."""
    kind = draw(st.sampled_from(["changed", "changed", "changed", "as it is", "bytes", "cut", "page"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200) | st.sampled_from([b"[" * 100_000, b"\xff\xfe", b"", KEY.encode()]))
    if kind == "page":
        return f"<html><body>{draw(st.text(max_size=50))} Authorization: Bearer {KEY}</body></html>".encode(
            "utf-8", "surrogatepass"
        )
    document = draw(st.sampled_from(documents))
    if kind == "changed":
        document = draw(changed(document))
    text = written(document).encode("utf-8", "surrogatepass")
    return text[: draw(st.integers(0, len(text)))] if kind == "cut" else text


def _bomb() -> bytes:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(80)) + packer.flush()


#: 80 KiB that stand for 80 MiB.
BOMB = _bomb()

STATUSES = [*[200] * 30, 201, 202, 204, 206, 226, 299, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 409]
STATUSES += [413, 418, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 529, 599, 600, 999, 100, 103]
HEADERS = {
    "Content-Type": [
        "application/json",
        "text/html",
        "text/event-stream",
        "text/event-stream; charset=utf-16",
        ";",
    ],
    "Content-Encoding": ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", KEY, ""],
    "Retry-After": ["0", "1", "-1", "9" * 400, "1e9", "nan", "soon", "Fri, 31 Dec 9999 23:59:59 GMT", KEY, "٣"],
    "X-Has-More": ["true", "TRUE", "false", "maybe", KEY],
    "X-Next-Offset": ["0", "1", "5", "-1", "9" * 4301, "9" * 4000, "null", "1.5", KEY],
    "Date": [
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "x",
        "Wed, 99 Foo 99999 99:99:99",
        "",
    ],
    "Location": ["http://127.0.0.1:9/", "//", "http://[", "", "javascript:x", f"http://x/?{KEY}", "/a" * 4000],
    "X-Request-Id": ["r1", "x" * 5000, KEY, "\x1b[31m"],
    "Set-Cookie": [
        "a=b",
        "a=b; Domain=.com; Expires=Fri, 31 Dec 99999 99:99:99",
        f"k={KEY}",
        ";;;=",
        "a=b; Max-Age=x",
    ],
    "Link": ["<x>; rel=next"],
    "Connection": ["close", "keep-alive", "upgrade"],
    "WWW-Authenticate": ["Basic realm=x", f"Bearer {KEY}"],
}
headers = st.lists(
    st.sampled_from([*HEADERS]).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(HEADERS[name])))
    | st.tuples(st.text("abcX-_", min_size=1, max_size=10), st.text(max_size=30)),
    max_size=5,
)


def head(status: int, fields: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n"


@st.composite
def answers(draw: Any, kind: str) -> bytes:
    """Draw a whole answer, as it goes over the wire, to a question of some kind; every other one is a success."""
    status, fields = draw(st.sampled_from(STATUSES)), draw(headers)
    if kind in ("list", "apps") and draw(st.booleans()):
        offset = draw(st.sampled_from(HEADERS["X-Next-Offset"]) | st.integers(1, 300).map(str))
        fields = [*fields, ("X-Has-More", "true"), ("X-Next-Offset", offset)]
    body = draw(texts(DOCUMENTS[kind] if status < 300 and draw(st.integers(0, 9)) else [ERROR, INVOCATION]))
    packed = draw(st.sampled_from(["", "", "", "", "", "", "gzip", "deflate", "bomb"]))
    if packed == "bomb" and draw(st.integers(0, 20)):
        packed = "gzip"  # a bomb takes its time
    if packed:
        body = {"gzip": gzip.compress(body, 1), "deflate": zlib.compress(body, 1), "bomb": BOMB}[packed]
        fields = [*fields, ("Content-Encoding", "deflate" if packed == "deflate" else "gzip")]
    framing = draw(
        st.sampled_from(["length", "length", "length", "close", "close", "chunked", "wrong length", "odd length"])
    )
    if framing == "length":
        fields = [*fields, ("Content-Length", str(len(body)))]
    elif framing == "wrong length":
        fields = [*fields, ("Content-Length", str(len(body) + draw(st.integers(-5, 5))))]
    elif framing == "odd length":
        length = draw(st.sampled_from(["-1", "x", "9" * 30, "0x10", "", "1, 2", "70000000", KEY]))
        fields = [*fields, ("Content-Length", length)]
    elif framing == "chunked":
        fields = [*fields, ("Transfer-Encoding", "chunked")]
        size = draw(st.integers(1, 5000))
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        ends = [b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"", b"zz\r\n", b"-1\r\n", f"{KEY}\r\n".encode()]
        body += draw(st.sampled_from(ends))
    return draw(damaged(head(status, fields) + body))


#: What breaks the rules of HTTP, and echoes the request.
ECHOES = [
    f"Authorization: Bearer {KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nAuthorization Bearer {KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 {KEY} OK\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nA: \x00 {KEY}\r\n\r\n".encode(),
]


@st.composite
def damaged(draw: Any, whole: bytes) -> bytes:
    """Draw what is left of an answer on its way; most are whole."""
    damage = draw(st.integers(0, 20))
    if damage == 0:
        return whole[: draw(st.integers(0, len(whole)))]
    if damage == 1:
        place = draw(st.integers(0, max(0, len(whole) - 1)))
        return whole[:place] + draw(st.binary(min_size=1, max_size=4)) + whole[place + 1 :]
    if damage == 2:
        return draw(st.binary(max_size=100)) + whole
    if damage == 3:
        return draw(st.sampled_from(ECHOES)) + whole
    return whole


@st.composite
def streams(draw: Any) -> tuple[bytes, int]:
    """Draw an event stream, and count its events."""
    pieces: list[bytes] = []
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["event", "event", "event", "as it is", "line", "bytes"]))
        if kind == "bytes":
            pieces.append(draw(st.binary(max_size=60)))
        elif kind == "line":
            pieces.append(
                draw(
                    st.sampled_from([b":", b"data", b"id: \x00", b"retry: -9", b"event: x", b"\xef\xbb\xbfdata: 1"])
                )
                + draw(st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n"]))
            )
        else:
            event = draw(st.sampled_from(EVENTS))
            if kind == "event":
                event = draw(changed(event))
            data = written(event).encode("utf-8", "surrogatepass")
            pieces.append(b"data: " + data + draw(st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n"])))
    fields = [("Content-Type", "text/event-stream"), *draw(headers)]
    return draw(damaged(head(200, fields) + b"".join(pieces))), max(1, len(pieces))
