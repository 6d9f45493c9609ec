"""Release catalogs: what one SGLang release accepts, read from its wheel without importing it.

Use::

    from mimo_gb10.extract import catalog

    found = catalog.extract_release("0.5.23", committed=Path("configs/releases/sglang-0.5.23.json"))
    found.findings          # what could not be computed; empty when the catalog is complete
    found.as_json_text()    # the text of configs/releases/sglang-0.5.23.json

`extract_release` downloads the wheel with pip into a cache folder and checks
it against the committed catalog. It raises `wheel.EnvironmentProblem` (exit
code 3) without network or pip, and `Refused` for a wheel that is not the
committed one. `catalog.build` does the same for a `wheel.Wheel` at hand.

How it works: `modules` parses and indexes, `evaluate` (with `library` for the
standard library's part, and `values`) computes names and runs small functions,
`flags` runs the release's own code that fills its argument parser, with a
recorder in the parser's place, `deprecation` reads deprecation texts, and
`environment` finds the variables. `catalog` puts it together.
"""
