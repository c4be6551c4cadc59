airflow-kernel emulator --port 8788 --actions shop.py
