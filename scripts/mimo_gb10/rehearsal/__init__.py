"""The rehearsal: a recipe's real launch with a tiny random-weight checkpoint of the same architecture."""
