"""The operators that the kill matrix is run with, each noting when Airflow calls it."""
