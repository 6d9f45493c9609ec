"""What a log says about a launch that went wrong.

`docs/symptoms.yaml` says what to look for; `symptoms` loads it. `scan` finds lines in bytes, `state` remembers what was
found in the log of each rank, `verdict` decides which symptoms that proves and in which order they follow from one
another, `report` shows them. Nothing here knows a recipe but `values`, which fills a fix in.
"""
