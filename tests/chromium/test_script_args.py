"""The values that reach a script as ``args`` are those that were given, in real JavaScript."""

import json
import subprocess

import pytest

from airflow_provider_kernel.client.resources.browsers.flows import with_args
from airflow_provider_kernel.testing.resources.browsers.scripts import find_driver

VALUES = (
    'it\'s "quoted"',
    "back\\slash \\n",
    "line\u2028and\u2029paragraph",
    "${1 + 1} `tick`",
    "</script>",
    {"__proto__": {"polluted": True}, "k": [1, 2.5, None, True]},
    "é🎭",
)


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_args_reach_javascript_as_they_are(value):
    code = with_args("process.stdout.write(JSON.stringify(args))", value)
    assert code.isascii()
    done = subprocess.run([find_driver() / "node", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == value
