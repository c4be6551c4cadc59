import kernel

app = kernel.App("greeter")


@app.action("hello")
async def hello(ctx: kernel.KernelContext, payload: dict) -> dict:
    print(f"greeting {payload['name']}")
    return {"greeting": f"Hello, {payload['name']}"}
