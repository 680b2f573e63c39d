"""What InSPO is good for: worlds in which the true preference is known, and the runs and tests that ask."""
