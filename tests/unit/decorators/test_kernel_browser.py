"""What a DAG file may write with ``@task.kernel_browser``, and what it is told otherwise."""

from datetime import timedelta

import pytest
from airflow.sdk import DAG, task

from airflow_provider_kernel.browser_arguments import BROWSER_ARGUMENTS
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.operators import browser as module
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator


def prices(page, url, browser=None):
    return url


@pytest.fixture(autouse=True)
def dag():
    with DAG("browsers", schedule=None) as dag:
        yield dag


def operator_of(task_output):
    return task_output.operator


class TestParameters:
    def test_call_gives_the_other_parameters(self):
        operator = operator_of(task.kernel_browser(prices)("https://example.com"))
        assert list(operator.op_args) == ["https://example.com"]

    def test_arguments_of_the_decorator_are_those_of_the_browser(self):
        decorated = task.kernel_browser(stealth=True, idle_timeout=timedelta(minutes=10))(prices)
        operator = operator_of(decorated("u"))
        assert (operator.stealth, operator.idle_timeout) == (True, timedelta(minutes=10))

    def test_override_changes_an_argument_of_the_browser(self):
        assert operator_of(task.kernel_browser(prices).override(stealth=True)("u")).stealth is True

    def test_missing_argument_is_refused_when_the_dag_is_parsed(self):
        with pytest.raises(TypeError, match="url"):
            task.kernel_browser(prices)()

    @pytest.mark.parametrize("name", ["page", "browser"])
    @pytest.mark.parametrize(
        "use",
        [
            lambda decorated, name: decorated("u", **{name: 1}),
            lambda decorated, name: decorated.partial(**{name: 1}),
            lambda decorated, name: decorated.partial(url="u").expand(**{name: [1]}),
            lambda decorated, name: decorated.expand_kwargs([{"url": "u", name: 1}]),
            lambda decorated, name: KernelBrowserTaskOperator(
                task_id="t", python_callable=prices, op_kwargs={name: 1}
            ),
        ],
        ids=["call", "partial", "expand", "expand_kwargs", "operator"],
    )
    def test_filled_parameter_is_refused_with_what_to_rename(self, use, name):
        with pytest.raises(KernelInputError, match=f"{name} is (given|mapped).*Rename"):
            use(task.kernel_browser(prices), name)

    def test_expand_maps_the_other_parameters(self, dag):
        task.kernel_browser(prices).expand(url=["a", "b"])
        assert dag.get_task("prices").op_kwargs_expand_input.value == {"url": ["a", "b"]}

    def test_default_args_apply_to_the_arguments_of_the_browser(self):
        with DAG("with_defaults", schedule=None, default_args={"stealth": True, "region": "eu-west"}):
            operator = KernelBrowserTaskOperator(task_id="t", python_callable=prices, op_args=["u"])
        assert (operator.stealth, operator.region) == (True, "eu-west")

    def test_partial_maps_an_argument_of_the_browser(self, dag):
        KernelBrowserTaskOperator.partial(task_id="mapped", python_callable=prices).expand(profile=["a", "b"])
        assert dag.get_task("mapped").expand_input.value == {"profile": ["a", "b"]}


class TestArguments:
    def test_defaults_of_the_operator_are_those_of_the_table(self):
        operator = KernelBrowserTaskOperator(task_id="t", python_callable=prices, op_args=["u"])
        assert {name: getattr(operator, name) for name in BROWSER_ARGUMENTS} == {
            name: argument.default for name, argument in BROWSER_ARGUMENTS.items()
        }

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("headless", "yes", "True or False"),
            ("profile", "no spaces", 'or {"id": "..."}'),
            ("profile", {"id": "a", "name": "b"}, 'or {"id": "..."}'),
            ("proxy", {"mode": "sideways"}, "direct"),
            ("viewport", (0, 5), "(width, height) in pixels"),
            ("viewport", "1280x720", "(width, height) in pixels"),
            ("extensions", "one", "a list of names"),
            ("region", "mars", "us-east, us-west, eu-west, ap-southeast"),
            ("allowed_hosts", "example.com", "a list of hosts"),
            ("idle_timeout", 5, "whole seconds from 10 to 259200"),
            ("idle_timeout", timedelta(days=4), "whole seconds from 10 to 259200"),
            ("start_timeout", -1, "seconds from 0"),
            ("tags", {"a": "100%"}, 'letters, digits, spaces and "_.:/=+@-"'),
            ("tags", {"airflow_dag": "x"}, "Choose another key"),
        ],
    )
    def test_wrong_argument_says_what_is_allowed(self, name, value, says):
        with pytest.raises(KernelInputError) as refused:
            task.kernel_browser(**{name: value})(prices)("u")
        assert says in str(refused.value)
        assert name in str(refused.value)

    def test_wrong_argument_of_a_mapped_task_is_refused_when_the_dag_is_parsed(self):
        with pytest.raises(KernelInputError, match="viewport"):
            KernelBrowserTaskOperator.partial(task_id="t", python_callable=prices, viewport=5)

    def test_profile_to_save_must_be_named(self):
        with pytest.raises(KernelInputError, match="save_profile=True needs a profile"):
            task.kernel_browser(save_profile=True)(prices)("u")

    def test_profile_to_save_may_be_mapped(self):
        KernelBrowserTaskOperator.partial(task_id="t", python_callable=prices, save_profile=True).expand(
            profile=["a", "b"]
        )

    def test_template_is_checked_when_the_task_runs(self):
        assert operator_of(task.kernel_browser(profile="{{ params.p }}")(prices)("u")).profile == "{{ params.p }}"


class TestFunctions:
    def test_missing_playwright_is_a_warning_when_the_dag_is_parsed(self, monkeypatch, caplog):
        monkeypatch.setattr(module, "has_playwright", lambda: False)
        task.kernel_browser(prices)("u")
        assert "pip install 'airflow-provider-kernel[playwright]'" in caplog.text

    def test_function_without_a_page_needs_no_playwright(self, monkeypatch, caplog):
        monkeypatch.setattr(module, "has_playwright", lambda: False)
        task.kernel_browser(lambda browser: None)
        assert not caplog.records

    def test_async_function_is_refused_where_airflow_runs_none(self, monkeypatch):
        async def fetch(page):
            return page

        monkeypatch.setattr(module, "RUNS_ASYNC_TASKS", False)
        with pytest.raises(KernelInputError, match=r"fetch is async, which Airflow runs from version 3\.2 on"):
            task.kernel_browser(fetch)
