"""A small language with a known judge, separable or not at will. Everything is offline and seeded."""
