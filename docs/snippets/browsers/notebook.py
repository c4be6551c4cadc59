from airflow_provider_kernel.hooks.kernel import KernelHook


# [block]
def title_of(url):
    with (
        KernelHook() as hook,
        hook.browser(idle_timeout=60) as browser,
        browser.page() as page,
    ):
        page.goto(url)
        return page.title()


# [/block]


# [calls]
def start_and_end():
    with KernelHook() as hook:
        session = hook.browsers.create(name="by-hand", tags={"team": "pricing"})
        mine = [b.session_id for b in hook.browsers.list(tags={"team": "pricing"})]
        hook.browsers.delete_by_id(session.session_id)
    return mine


# [/calls]
