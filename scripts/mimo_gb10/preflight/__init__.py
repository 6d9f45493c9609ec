"""What can be known about the nodes before anything is started.

The modules that run on a node need Python 3.10 and nothing else; `mimo_gb10.preflight.bundle` names them and
packs them into one program for ``ssh NODE python3 -``. By what depends on what:

- `machine`: the one interface through which everything is read, and the commands that may be run; `recorded`
  replays it.
- `wanted`: what is to be checked, as plain data; made of configs by `load`, which reads YAML with the project's own
  reader where PyYAML is, and else with `plain_yaml` and `plain_schema`.
- ``read_*``: from files and commands to the dataclasses in `facts`.
- ``check_*``: from facts to one line each; pure functions.
- `node` runs them on one machine, `remote` on many, `compare` holds the nodes against one another, `show` prints.
"""
