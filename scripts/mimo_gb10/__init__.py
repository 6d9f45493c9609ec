"""The library behind the commands in ``scripts/``: configs in, checked launch plans out."""
