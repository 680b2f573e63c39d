"""A real instruction model that writes English, and a judge made of public measures, separable or not."""
