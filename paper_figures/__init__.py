"""The paper's figures and tables: theirs, ours beside them, and what their own numbers say. Never trains."""
