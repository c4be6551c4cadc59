"""What is looked for after the run. Random texts: nothing else can have written them."""

from __future__ import annotations

KEY = "sk_live_hC7w2QnV5kXr9TzB"
#: What is cut off somewhere in the middle of the key would still be too much.
PARTS_OF_KEY = (KEY[: len(KEY) // 2], KEY[len(KEY) // 2 :])
#: In the payloads of invocations.
PAYLOAD = "payload_mJ4vR8sD"
#: In the outputs of invocations, those of actions that fail among them.
OUTPUT = "output_yL6bN3gF"
#: In the outputs that Airflow gives to invocations that wait for it.
ANSWER = "answer_tP9cK2wZ"
#: What a task of the test's own lets out everywhere, to see that it would be found there.
PLANTED = "planted_aG5xH7qE"
