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
def test_success_is_its_output(output, value):
    assert unwrap_result(succeeded(output)) == value


@pytest.mark.parametrize("status", ["failed", "running", "queued", "cancelled", "SUCCEEDED"])
def test_only_succeeded_succeeds(status):
    invocation = Invocation(id="abc", status=status, output='"looks fine"')
    with pytest.raises(KernelInvocationFailedError) as raised:
        unwrap_result(invocation)
    assert raised.value.invocation is invocation


class TestSize:
    @pytest.mark.parametrize(("limit", "fits"), [(None, True), (10, True), (9, False), (0, False)])
    def test_counts_bytes_and_allows_the_limit_itself(self, limit, fits):
        invocation = succeeded('"12ä😀"')
        assert len(invocation.output.encode()) == 10
        if fits:
            assert unwrap_result(invocation, max_output_bytes=limit) == "12ä😀"
        else:
            with pytest.raises(KernelOutputTooLargeError):
                unwrap_result(invocation, max_output_bytes=limit)

    def test_no_output_fits_always(self):
        assert unwrap_result(succeeded(None), max_output_bytes=0) is None

    def test_the_error_says_how_large_it_was_and_how_to_read_it_but_not_what(self):
        with pytest.raises(KernelOutputTooLargeError) as raised:
            unwrap_result(succeeded('"' + "secret" * 1000 + '"'), max_output_bytes=1234)
        text = str(raised.value)
        assert "Invocation abc succeeded" in text
        assert "6,002 bytes" in text
        assert "at most 1,234" in text
        assert "KernelHook.get_invocation" in text
        assert "secret" not in text

    def test_a_failure_is_not_hidden_by_the_size(self):
        with pytest.raises(KernelInvocationFailedError):
            unwrap_result(Invocation(id="abc", status="failed", output="x" * 100), max_output_bytes=1)
