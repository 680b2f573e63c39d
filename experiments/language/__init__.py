"""World 1: a small language with a known judge, separable or not at will. Everything is offline and seeded."""
