PRICES = {"Lisbon": 120, "Porto": 95}


def prices(ctx, payload):
    ctx.log(f"looking for {payload['city']}")
    return {"price": PRICES[payload["city"]]}


def buy(ctx, payload):
    ctx.wait(2)  # emulated seconds
    return {"ticket": f"{payload['city']}-1"}
