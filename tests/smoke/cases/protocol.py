# mypy: ignore-errors
"""Hold requests and answers against SGLang's own protocol definitions.

Standard input is a JSON object: class names of ``sglang.srt.entrypoints.openai.protocol``, each with a list of values.
The output is the same with, for each value, null or what the class says against it. Fields that the class does not
know count as wrong: a misspelt one would be ignored in silence.
"""

import json
import sys

from stand_in_absent import stand_in_for

stand_in_for("torchvision")

import pydantic  # noqa: E402
from sglang.srt.entrypoints.openai import protocol  # noqa: E402


def problem(cls, value):
    try:
        made = cls.model_validate(value)
    except pydantic.ValidationError as error:
        return str(error)[:600]
    known = set(cls.model_fields) | {field.alias for field in cls.model_fields.values()}
    extra = set(value) - known
    return f"unknown to {cls.__name__}: {sorted(extra)}" if extra else None if made else "empty"


given = json.load(sys.stdin)
found = {name: [problem(getattr(protocol, name), value) for value in values] for name, values in given.items()}
print(json.dumps(found))
