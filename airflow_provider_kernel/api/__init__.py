"""The Kernel API: models, requests, retries and clients. Nothing in here knows of Airflow."""
