"""The paper's tables as runs: train, generate, judge, score, with what each costs and what is missing."""
