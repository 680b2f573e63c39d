"""Responses of a policy."""
