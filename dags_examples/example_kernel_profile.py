"""
### A profile that stays logged in

A *profile* is what a browser keeps: cookies and local storage. `log_in` opens a browser with the profile and logs
in; the end of the browser saves the profile. `read` gets another browser with the same profile, and is logged in.

Kernel saves a profile with **every** end of such a browser, also after a failure or a kill. Two that save the same
profile at once overwrite each other, so give the saving task an Airflow pool of one slot:
`airflow pools set kernel_profile_quotes 1 "Saves the profile quotes"`. Here its name comes from
`KERNEL_EXAMPLE_PROFILE_POOL`, where Airflow parses the DAG. `read` saves nothing, and needs no pool.
"""

import os

from airflow.sdk import DAG, task

POOL = os.environ.get("KERNEL_EXAMPLE_PROFILE_POOL", "default_pool")
PROFILE = "quotes"

with DAG(
    "example_kernel_profile",
    schedule=None,
    params={"site": "https://quotes.toscrape.com"},
    tags=["example", "kernel"],
    doc_md=__doc__,
):

    @task.kernel_browser(profile=PROFILE, save_profile=True, pool=POOL)
    def log_in(page, site):
        page.goto(f"{site}/login")
        page.fill("#username", "airflow")  # this site takes any; take yours from an Airflow connection
        page.fill("#password", "airflow")
        page.click("input[type=submit]")
        page.locator("a[href='/logout']").wait_for()  # else it would save that nobody is logged in

    @task.kernel_browser(profile=PROFILE)
    def read(page, site):
        page.goto(site)
        return {"logged_in": page.locator("a[href='/logout']").count() == 1}

    log_in("{{ params.site }}") >> read("{{ params.site }}")
