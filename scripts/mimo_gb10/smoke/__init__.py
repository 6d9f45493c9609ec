"""The smoke test: does the server that runs give right answers?

`client` speaks HTTP, `chat` reads what SGLang answers, `judge` weighs texts and numbers, `expect` says what a recipe
and a release promise. The checks are in `checks/`, one function each, listed in `catalog`; `runner` runs them, and
`reports` and `live` show what they found.
"""
