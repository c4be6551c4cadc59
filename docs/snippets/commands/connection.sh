airflow connections add kernel_default --conn-type kernel --conn-password "$KERNEL_API_KEY"
