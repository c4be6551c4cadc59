airflow-kernel emulator --port 8787
