"""Text in and out: YAML with positions, shell quoting, "did you mean". Knows nothing of SGLang."""
