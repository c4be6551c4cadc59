airflow db migrate
airflow dags test kernel_quickstart
