"""Responses of two replies, in the language world, with what the user asks between them."""
