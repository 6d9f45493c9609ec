"""Checks of the documentation: its Markdown before a site is built, and the built site.

`sources` reads README, CONTRIBUTING, CHANGELOG and every page: no launch stands in them by hand, and what a reader can
run is read by the parser of the command that would run it. `site` follows every link of the built pages, offline.
"""
