"""How a model answers a benchmark: conversations, what is kept of them, and going on after a kill."""
