AIRFLOW=3.3.2 PYTHON=3.12
pip install "apache-airflow==$AIRFLOW" airflow-provider-kernel \
    --constraint "https://raw.githubusercontent.com/apache/airflow/constraints-$AIRFLOW/constraints-$PYTHON.txt"
