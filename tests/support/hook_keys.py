"""The API keys that the tests of the hook use."""

KEY = "sk-very-secret"
#: A key that may act in one project only.
PROJECT_KEY = "sk-of-one-project"
