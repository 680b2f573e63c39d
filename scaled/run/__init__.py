"""A run put together: checks, preparation, resumption, results. The only room that takes the whole configuration."""
