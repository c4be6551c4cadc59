"""What an error says of where its request was sent, and what is to be changed there."""

from __future__ import annotations

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.defaults import DEFAULT_BASE_URL
from airflow_provider_kernel.client.destination import ConnectionProblem, Destination
from airflow_provider_kernel.client.retry import Attempts

SHOP = Destination("https://shop.example.com", "connection 'shop'")
FOREIGN = "Something answers at https://shop.example.com, but it is not the Kernel API"
CHECK_HOST = "Check that the connection's host is the Kernel API and that no proxy answers in its place"


def sent(error, destination=SHOP):
    error.request, error.attempts = "GET /apps", Attempts(1, 0.2)
    error.sent_to(destination)
    return error


def test_error_names_connection_and_host_behind_the_cause():
    error = sent(errors.KernelConnectionError("refused", problem=ConnectionProblem.REFUSED))
    where = "connection 'shop', https://shop.example.com"
    assert str(error) == f"GET /apps: refused (1 attempt in 0.2 s, {where}). {ConnectionProblem.REFUSED.value}"
    assert error.summary == f"refused ({where}). {ConnectionProblem.REFUSED.value}"


def test_error_of_the_bare_client_names_the_host_only():
    error = sent(errors.KernelServerError("no", status_code=500, code="x"), Destination("https://shop.example.com"))
    assert str(error) == "GET /apps: 500 x: no (1 attempt in 0.2 s, https://shop.example.com)"


def test_error_keeps_the_host_that_its_request_was_sent_to():
    error = sent(errors.KernelError("no"))
    error.sent_to(Destination("https://other.example.com"))
    assert error.destination == SHOP


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.KernelResponseError("HTML"), FOREIGN),
        (errors.KernelNotFoundError("<html>", status_code=404), FOREIGN),
        (errors.KernelAPIError("{}", status_code=405), f"{FOREIGN}, or a proxy is in front of it"),
    ],
    ids=["no JSON", "404", "405"],
)
def test_answer_that_is_not_of_kernel_is_called_so_before_all_else(error, sentence):
    text = str(sent(error))
    assert text.startswith(f"{sentence}. GET /apps: ")
    assert text.endswith(f"). {CHECK_HOST}")
    assert error.summary.startswith(f"{sentence} (connection 'shop', https://shop.example.com). {CHECK_HOST}. ")


@pytest.mark.parametrize(
    "error",
    [
        errors.KernelNotFoundError("no such app", status_code=404, code="not_found"),
        errors.KernelRateLimitError("full", status_code=429),
        errors.KernelServerError("<html>Bad Gateway</html>", status_code=502),
        errors.KernelResponseTooLargeError("large"),
    ],
    ids=["of Kernel", "full", "gateway", "large"],
)
def test_answer_that_may_be_of_kernel_is_not_called_foreign(error):
    assert "Something answers" not in str(sent(error))


def test_refused_key_without_a_code_is_still_told_what_to_do_about_the_key():
    text = str(sent(errors.KernelAuthenticationError("<html>", status_code=401)))
    assert text.startswith(FOREIGN)
    assert text.endswith(f"{CHECK_HOST}. {errors.KernelAuthenticationError.advice}")


@pytest.mark.parametrize("problem", [ConnectionProblem.NO_TLS, ConnectionProblem.HANDSHAKE])
@pytest.mark.parametrize(
    ("base_url", "meant"),
    [
        ("https://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://shop", "http://shop:443"),
        ("https://[::1]", "http://[::1]:443"),
        ("https://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_advice_about_plain_http_names_the_host_to_write(problem, base_url, meant):
    error = sent(errors.KernelConnectionError("no TLS", sent=False, problem=problem), Destination(base_url))
    assert f"write {meant} as the host" in str(error)
    assert "HOST:PORT" not in str(error)


@pytest.mark.parametrize("problem", [ConnectionProblem.NO_TLS, ConnectionProblem.HANDSHAKE])
@pytest.mark.parametrize("base_url", [DEFAULT_BASE_URL, "http://127.0.0.1:8080"])
def test_nobody_is_told_to_send_the_key_to_kernel_without_tls(problem, base_url):
    error = sent(errors.KernelConnectionError("no TLS", sent=False, problem=problem), Destination(base_url))
    assert error.advice == ConnectionProblem.NETWORK.value
