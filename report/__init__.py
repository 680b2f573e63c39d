"""The one page: what the paper claims, what is true of it, what was measured, and an explorer to try it in.

``python -m report`` gathers committed results into one JSON and puts it into the page that Vite builds of ``src/``.
"""
