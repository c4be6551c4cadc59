from __future__ import annotations

import pytest

from airflow_provider_kernel.testing.clock import Clock, format_time, parse_since

NOW = 1_750_420_800_000_000_000  # 2025-06-20T12:00:00Z
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-06-20T12:00:00Z", NOW),
        ("2025-06-20T12:00:00.000000001Z", NOW + 1),
        ("2025-06-20T12:00:00.5Z", NOW + SECOND // 2),
        ("2025-06-20T14:00:00+02:00", NOW),
        ("2025-06-20T10:30:00-01:30", NOW),
        ("5m", NOW - 300 * SECOND),
        ("1h30m", NOW - 5400 * SECOND),
        ("1.5s", NOW - 3 * SECOND // 2),
        ("20ms", NOW - SECOND // 50),
    ],
)
def test_since_is_parsed(text, expected):
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "2025-06-20", "2025-06-20T12:00:00", "2025-13-01T00:00:00Z", "5m ago"]
)
def test_invalid_since_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_since(text, NOW)


def test_times_have_nine_digits_and_can_be_parsed():
    assert format_time(NOW + 1) == "2025-06-20T12:00:00.000000001Z"
    assert parse_since(format_time(NOW + 123), 0) == NOW + 123


def test_clock_never_returns_a_value_twice():
    clock = Clock()
    moments = [clock.now() for _ in range(10_000)]
    assert moments == sorted(set(moments))


def test_clock_scales_timeouts():
    assert Clock(1000).real(900) == 0.9
    assert Clock().real(float("inf")) is None
    assert Clock().real(None) is None
