"""The configuration class that this checkpoint's config.json names in `auto_map`."""

from transformers import PretrainedConfig


class MiMoTinyConfig(PretrainedConfig):
    """Keeps every field of config.json as an attribute."""

    model_type = "mimo_v2"
