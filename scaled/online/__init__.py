"""Training in rounds on the policy's own responses: generate, judge, write records, train, and again."""
