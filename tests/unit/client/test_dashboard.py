from __future__ import annotations

import pytest

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.dashboard import check_template, dashboard_link, needs_browser
from airflow_provider_kernel.client.errors import KernelConfigurationError

D = "https://dashboard.onkernel.com"


def refusal(template):
    with pytest.raises(KernelConfigurationError) as raised:
        KernelConfig("sk-test-key", dashboard_url=template)
    text = str(raised.value)
    assert text.endswith(
        ". Give an http or https address; it may hold {invocation_id}, {app_name}, {session_id}, "
        "in its path, query or fragment"
    )
    return text.partition(". Give")[0]


def test_link_takes_half_a_surrogate_pair_from_a_name():
    assert dashboard_link(D + "/{app_name}", "abc", app_name="a\ud800") == D + "/a%3F"


class TestTemplate:
    @pytest.mark.parametrize(
        "template",
        [
            D,
            f"{D}/",
            "http://127.0.0.1:8080/i/{invocation_id}",
            "https://[::1]/x",
            D + "/{app_name}/{invocation_id}?browser={session_id}#{invocation_id}",
        ],
    )
    def test_template_may_hold_each_placeholder_anywhere_after_the_host(self, template):
        assert check_template(template) == template

    def test_white_space_around_a_template_is_dropped(self):
        assert KernelConfig("sk-test-key", dashboard_url=f" {D}\n").dashboard_url == D

    def test_default_template_is_the_front_page(self):
        assert KernelConfig("sk-test-key").dashboard_url == D

    @pytest.mark.parametrize(
        ("rest", "named"),
        [
            ("/{id}", "{id}"),
            ("/{invocation}/{app_name}/{x}", "{invocation}, {x}"),
            ("/{}", "{}"),
            ("/{0}", "{0}"),
            ("/{invocation_id.__class__}", "{invocation_id.__class__}"),
            ("/{invocation_id!r}", "{invocation_id!r}"),
            ("/{app_name:>99}", "{app_name:>99}"),
            ("/{ invocation_id}", None),
        ],
    )
    def test_template_with_an_unknown_placeholder_is_refused(self, rest, named):
        told = refusal(D + rest)
        assert told.startswith(f"dashboard_url '{D}{rest}' cannot be used: ")
        if named:
            assert told.endswith(f": it names {named}")

    @pytest.mark.parametrize("rest", ["/{", "/}", "/{{invocation_id}}", "/{invocation_id", "/invocation_id}"])
    def test_template_with_a_stray_brace_is_refused(self, rest):
        assert refusal(D + rest).endswith("it holds a brace that belongs to no placeholder")

    @pytest.mark.parametrize(
        ("template", "problem"),
        [
            ("javascript:alert(1)", "a link starts with http:// or https://"),
            ("data:text/html,x", "a link starts with http:// or https://"),
            ("dashboard.onkernel.com", "a link starts with http:// or https://"),
            ("", "a link starts with http:// or https://"),
            ("//dashboard.onkernel.com", "a link starts with http:// or https://"),
            ("https:///x", "it needs a host that is the same for every invocation"),
            ("https://{app_name}.example/", "it needs a host that is the same for every invocation"),
            ("https://x:port/", "it is no URL (Port could not be cast to integer value as 'port')"),
            ("https://[x/", "it is no URL (Invalid IPv6 URL)"),
            ("https://x/a b", "it holds white space or characters that cannot be seen"),
            ("https://x/a\u202eb", "it holds white space or characters that cannot be seen"),
        ],
    )
    def test_template_that_is_no_web_address_is_refused(self, template, problem):
        assert refusal(template).endswith(f"cannot be used: {problem}")

    def test_template_with_credentials_is_refused_without_echoing_them(self):
        told = refusal("https://me:secret@example.com/{invocation_id}")
        assert "secret" not in told
        assert told.endswith("it holds credentials, and everybody would see them")


class TestLink:
    @pytest.mark.parametrize("rest", ["", "/", "/runs?all=1"])
    def test_template_without_placeholders_gives_no_link(self, rest):
        assert dashboard_link(D + rest, "abc") is None

    def test_link_holds_the_values_of_the_placeholders(self):
        template = D + "/{app_name}/{invocation_id}?b={session_id}&again={invocation_id}#end"
        assert dashboard_link(template, "i1", app_name="shop", session_id="s1") == f"{D}/shop/i1?b=s1&again=i1#end"

    @pytest.mark.parametrize(
        ("value", "quoted"),
        [
            ("a/../b", "a%2F..%2Fb"),
            ("a b?c#d", "a%20b%3Fc%23d"),
            ("ü&x=1", "%C3%BC%26x%3D1"),
            ("{app_name}", "%7Bapp_name%7D"),
            ("javascript:", "javascript%3A"),
            ("a\nb", "a%0Ab"),
        ],
    )
    def test_link_quotes_the_values(self, value, quoted):
        assert dashboard_link(D + "/{app_name}/x", "i1", app_name=value) == f"{D}/{quoted}/x"

    @pytest.mark.parametrize(
        ("rest", "above"),
        [
            ("/{invocation_id}/{session_id}/live", "/i1/"),
            ("/{invocation_id}/browser-{session_id}", "/i1/"),
            ("/{invocation_id}/x?id={session_id}", "/i1/"),
            ("/{invocation_id}/#a/{session_id}", "/i1/"),
        ],
    )
    def test_link_with_an_unknown_value_is_cut_to_the_parent_page(self, rest, above):
        assert dashboard_link(D + rest, "i1") == f"{D}{above}"

    @pytest.mark.parametrize(
        "rest", ["/{session_id}", "/browsers/{session_id}", "?x={session_id}", "/{invocation_id}-{session_id}"]
    )
    def test_link_that_is_cut_before_its_first_value_is_none(self, rest):
        assert dashboard_link(D + rest, "i1") is None

    @pytest.mark.parametrize("value", [None, "", ".", ".."])
    def test_value_that_is_empty_or_a_dot_counts_as_unknown(self, value):
        assert dashboard_link(D + "/{invocation_id}/{app_name}/b", "i1", app_name=value) == f"{D}/i1/"


def test_only_a_link_with_the_session_id_needs_a_browser():
    assert needs_browser(D + "/{session_id}")
    assert not needs_browser(D + "/{invocation_id}/{app_name}")
