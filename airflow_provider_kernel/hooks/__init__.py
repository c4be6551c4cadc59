"""The hook: an Airflow connection on one side, the Kernel API on the other."""
