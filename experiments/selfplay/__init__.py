"""Self-play in the language world, where a policy is trained in rounds on pairs of its own responses."""
