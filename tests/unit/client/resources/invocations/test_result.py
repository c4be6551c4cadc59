from __future__ import annotations

import pytest

from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelOutputTooLargeError,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.result import unwrap_result


def succeeded(output=None):
    return Invocation(id="abc", status="succeeded", output=output)


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (None, None),
        ('{"a": [1]}', {"a": [1]}),
        ("null", None),
        ('"x"', "x"),
        ("plain text", "plain text"),
        ("", ""),
    ],
)
def test_result_of_a_success_is_its_output(output, value):
    assert unwrap_result(succeeded(output)) == value


@pytest.mark.parametrize("status", ["failed", "running", "queued", "cancelled", "SUCCEEDED"])
def test_result_of_any_other_status_is_an_error(status):
    invocation = Invocation(id="abc", status=status, output='"looks fine"')
    with pytest.raises(KernelInvocationFailedError) as raised:
        unwrap_result(invocation)
    assert raised.value.invocation is invocation


def test_result_of_an_unknown_end_names_its_status():
    ended = Invocation(
        id="abc", status="timed_out", finished_at="2026-01-01T00:00:00Z", app_name="shop", action_name="buy"
    )
    with pytest.raises(KernelInvocationFailedError) as raised:
        unwrap_result(ended)
    assert str(raised.value) == (
        "Invocation abc of shop/buy ended with the unknown status 'timed_out', which counts as failed: "
        "the API gives no reason"
    )


class TestSize:
    @pytest.mark.parametrize(("limit", "fits"), [(None, True), (10, True), (9, False), (0, False)])
    def test_max_output_bytes_counts_bytes_and_includes_the_limit(self, limit, fits):
        invocation = succeeded('"12ä😀"')
        assert len(invocation.output.encode()) == 10
        if fits:
            assert unwrap_result(invocation, max_output_bytes=limit) == "12ä😀"
        else:
            with pytest.raises(KernelOutputTooLargeError):
                unwrap_result(invocation, max_output_bytes=limit)

    def test_missing_output_fits_every_limit(self):
        assert unwrap_result(succeeded(None), max_output_bytes=0) is None

    def test_too_large_output_is_refused_with_its_size_but_not_shown(self):
        with pytest.raises(KernelOutputTooLargeError) as raised:
            unwrap_result(succeeded('"' + "secret" * 1000 + '"'), max_output_bytes=1234)
        text = str(raised.value)
        assert "Invocation abc succeeded" in text
        assert "6,002 bytes" in text
        assert "at most 1,234" in text
        assert "KernelHook.get_invocation" in text
        assert "secret" not in text

    def test_failed_invocation_with_a_large_output_is_a_failure(self):
        with pytest.raises(KernelInvocationFailedError):
            unwrap_result(Invocation(id="abc", status="failed", output="x" * 100), max_output_bytes=1)
