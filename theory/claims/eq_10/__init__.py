"""Equation (10) and Algorithm 1: what does training find, and what does that depend on?"""

from theory.claims.eq_10 import flows, gibbs, on_data
from theory.claims.eq_10.claim import CLAIM

__all__ = ["CLAIM", "flows", "gibbs", "on_data"]
