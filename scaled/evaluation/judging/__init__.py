"""Asking a judge behind any OpenAI-compatible endpoint: each request once, every answer kept."""
