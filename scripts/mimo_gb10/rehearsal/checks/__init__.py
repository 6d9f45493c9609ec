"""What the rehearsal asks of a server besides the smoke test: numbers, endurance, and broken uploads."""
