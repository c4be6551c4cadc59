"""``python -m airflow_provider_kernel.cli``."""

import sys

from airflow_provider_kernel.cli import main

sys.exit(main())
