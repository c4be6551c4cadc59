"""A whole Airflow as real processes, for the tests that a smaller one cannot convince."""
