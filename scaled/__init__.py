"""The method at scale: transformers models, trees of tokens, training and evaluation."""
