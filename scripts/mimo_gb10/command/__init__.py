"""Launch commands as people write them: read, checked, turned into a recipe. Nothing that is read is ever run.

`shell_words` splits text into words with positions, `reader` finds the launches, `arguments` reads
their options as argparse would, `checks` compares them with a release, `to_recipe` writes them down
as a recipe and a cluster.
"""
