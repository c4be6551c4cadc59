airflow connections add kernel_shop --conn-type kernel --conn-password "$KERNEL_API_KEY" --conn-extra '{"project": "shop"}'
