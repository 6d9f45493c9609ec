"""A configuration for cases that start no server."""


class Settings:
    """Answers every question about the configuration: with what it was given, else with None."""

    def __init__(self, **known):
        self.__dict__.update(known)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
