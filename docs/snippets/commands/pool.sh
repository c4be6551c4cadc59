airflow pools set --include-deferred kernel 5 "Kernel invocations"
