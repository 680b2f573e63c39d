"""The reference's log-probs: one pass over the examples, and the cache that keeps it."""
