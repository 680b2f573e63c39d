"""Our docstrings as Markdown, for the documentation site's API pages: roles become links, doctests code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`~?([\w.]+)`")
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


def as_markdown(text: str) -> str:
    r"""A docstring's text.

    >>> as_markdown("See :func:`~inspo.losses.dpo`.\n\n>>> 1 + 1\n2")
    'See <autoref optional identifier="inspo.losses.dpo"><code>dpo</code></autoref>.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    linked = _ROLE.sub(_link, text)
    return _DOCTEST.sub(lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```", linked)


def _link(match: re.Match[str]) -> str:
    name = match[1]
    return f'<autoref optional identifier="{name}"><code>{name.rpartition(".")[2]}</code></autoref>'


class Docstrings(griffe.Extension):
    """Hands :func:`as_markdown`'s text on to mkdocstrings."""

    def on_object(self, *, obj: griffe.Object, **_others: Any) -> None:
        """Called once of each object that is collected."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
