"""From verdicts to numbers with standard errors. Pure: no files, no network."""
