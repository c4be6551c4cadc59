"""
The bounds of what the client takes from a server, whatever that sends. Imports nothing.

Each is far above what the API sends. One that is reached is an error or a note in the log, never a full memory and
never a request without end.
"""

from __future__ import annotations

#: The size of an answer, decoded.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
#: The size of the body of an error, decoded. More is not read: the status says what is wrong.
MAX_ERROR_BYTES = 256 * 1024
#: The size of an event of a stream. A log line has 64 KiB at most; a state holds payload and output.
MAX_EVENT_BYTES = 32 * 1024 * 1024
#: How many log lines of a stream are remembered, to tell new lines from replayed ones. A reconnect may show lines
#: beyond these a second time; none is lost.
MAX_REMEMBERED_LINES = 10_000
#: The length of an id or a status in an answer, in characters: they go into paths, messages and log lines.
MAX_NAME_LENGTH = 200
#: How many details of an error answer are kept.
MAX_ERROR_DETAILS = 10
#: The pages of a list that is read as a whole. All that started in an hour is on fewer.
MAX_LIST_PAGES = 1000
#: The pages of a list whose rows are handed on one by one, and not kept.
MAX_WALKED_PAGES = 10_000
#: How often in a row a page may show the rows of the one before it: it does when as many objects have started
#: meanwhile as a page has rows, which is one where rows are large.
MAX_REPEATED_PAGES = 10
#: The rows of a list that are too large by themselves, each of which is downloaded up to its bound.
MAX_ROWS_TOO_LARGE = 10
#: How many different warnings about answers are logged in a process.
MAX_WARNINGS = 100
