# mypy: ignore-errors
"""What a user of the ``openai`` library gets from a server: the requests of the smoke test, made with it.

The argument is the address. Standard input is a JSON object: ``chat`` (bodies), ``stream`` (bodies) and ``transcribe``
(file and fields).
"""

import json
import sys
from pathlib import Path

import openai

OWN = {"chat_template_kwargs", "ignore_eos"}

url, plan = sys.argv[1], json.load(sys.stdin)
client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)


def arguments(body):
    """SGLang's own fields go where the library lets them through."""
    own = {key: value for key, value in body.items() if key in OWN}
    return {key: value for key, value in body.items() if key not in OWN} | {"extra_body": own}


def whole(body):
    answer = client.chat.completions.create(**arguments(body))
    message = answer.choices[0].message
    calls = [[call.id, call.function.name, call.function.arguments] for call in message.tool_calls or ()]
    reasoning = getattr(message, "reasoning_content", None) or ""
    return [message.content or "", reasoning, calls, answer.choices[0].finish_reason, answer.usage.total_tokens]


def streamed(body):
    text, reasoning, finish, total, calls = "", "", None, None, {}
    for chunk in client.chat.completions.create(**arguments(body), stream=True, stream_options={"include_usage": True}):
        total = chunk.usage.total_tokens if chunk.usage else total
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                entry = calls.setdefault(call.index, ["", "", ""])
                entry[0] += call.id or ""
                entry[1] += call.function.name or ""
                entry[2] += call.function.arguments or ""
    return [text, reasoning, [calls[index] for index in sorted(calls)], finish, total]


def transcribed(file, fields):
    with Path(file).open("rb") as stream:
        answer = client.audio.transcriptions.create(file=stream, **fields)
    return answer if isinstance(answer, str) else answer.text


print(
    json.dumps(
        {
            "models": [model.id for model in client.models.list()],
            "chat": [whole(body) for body in plan["chat"]],
            "stream": [streamed(body) for body in plan["stream"]],
            "transcribe": [transcribed(*entry) for entry in plan["transcribe"]],
        }
    )
)
