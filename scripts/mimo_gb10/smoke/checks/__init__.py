"""The checks by area. Each is a function of the session that returns an outcome, and knows nothing of the others."""
