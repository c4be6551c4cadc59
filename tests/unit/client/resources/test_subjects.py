"""Each request about one object says so, so that the answer to another request is refused."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import get_args, get_origin, get_type_hints

import pytest

from airflow_provider_kernel.client import resources
from airflow_provider_kernel.client.http import sse
from airflow_provider_kernel.client.http.model import ApiModel
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.browsers import models
from airflow_provider_kernel.client.resources.invocations import browser_models, event_models
from airflow_provider_kernel.client.resources.invocations.requests import update_invocation

#: Models that a module imports only when it needs them.
LATE = {**vars(sse), **vars(browser_models), **vars(event_models), **vars(models)}


def functions_about_one_object():
    """Find the functions of all resources that build a request whose answer is a model with an id."""
    for info in pkgutil.walk_packages(resources.__path__, f"{resources.__name__}."):
        module = importlib.import_module(info.name)
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == info.name:
                returned = get_type_hints(function, localns=LATE).get("return")
                answer = next(iter(get_args(returned)), None)
                is_model = inspect.isclass(answer) and issubclass(answer, ApiModel)
                if get_origin(returned) is Request and is_model and "id" in answer.model_fields:
                    yield function


FUNCTIONS = {function.__name__: function for function in functions_about_one_object()}
#: Arguments that are no names.
ARGUMENTS = {update_invocation: {"status": "failed"}}


def test_requests_about_one_object_are_found():
    assert {"create_invocation", "get_invocation", "update_invocation"} <= {*FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_request_names_each_required_name_and_id_as_its_subject(name):
    function = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters.values()
    given = {p.name: f"some-{p.name}" for p in parameters if p.default is p.empty}
    given |= ARGUMENTS.get(function, {})
    subject = function(**given).about
    names = {value for value in given.values() if value.startswith("some-")}
    assert subject
    assert names == {value for _, value in subject}
