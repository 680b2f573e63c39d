"""Algorithm 1 and what surrounds it: the loop, schedule, KTO's KL, checkpoints, the journal, stopping."""
