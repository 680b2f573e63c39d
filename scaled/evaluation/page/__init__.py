"""One self-contained HTML file: questions, answers side by side, verdicts and lengths, with search and filters.

Answers are text of strangers. They reach the page as JSON in which no ``<`` is left, the page's script puts them on the
screen as text alone, and a policy in its head lets no script run but that one, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from scaled.evaluation.benchmarks.base import Answer, Question

MARK_DATA, MARK_POLICY, MARK_TITLE = "/*DATA*/", "<!--POLICY-->", "<!--TITLE-->"


@dataclass(frozen=True)
class Verdict:
    """One judgment of one model's answer, as a reader sees it.

    Attributes:
        model: whose answer it is about.
        judge: who judged.
        part: which of the question's judgments, such as ``game 1``.
        outcome: as the judge put it: ``B>A``, ``7``, ``0.83``; empty where no verdict was found.
        points: for the model: 1 won, 1/2 tied, 0 lost; None where answers are scored alone or nothing was found.
        text: what the judge wrote, or empty.
    """

    model: str
    judge: str
    part: str
    outcome: str
    points: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Entry:
    """One question with all that was answered and said of it.

    Attributes:
        question: what was asked.
        answers: in the order of the page's models, None where one has none.
        verdicts: of judges, by any model's name on the page.
    """

    question: Question
    answers: Sequence[Answer | None]
    verdicts: Sequence[Verdict] = ()


def render(title: str, models: Sequence[str], entries: Sequence[Entry], notes: Sequence[str] = ()) -> str:
    """The page.

    Args:
        title: what is compared.
        models: names, the first is the one that the filters speak of.
        entries: in the benchmark's order.
        notes: sentences below the title: judge, endpoint, dates, scores.

    Returns:
        HTML that needs nothing else.
    """
    data = {
        "models": list(models),
        "notes": list(notes),
        "entries": [_entry(entry) for entry in entries],
    }
    page = files(__name__).joinpath("page.html").read_text(encoding="utf-8")
    start = page.index("<script>") + len("<script>")
    digest = base64.b64encode(hashlib.sha256(page[start : page.index("</script>", start)].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    page = page.replace(MARK_TITLE, html.escape(title))
    page = page.replace(MARK_POLICY, f'<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    before, after = page.split(MARK_DATA)
    return before + _json(data) + after


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.question.name,
        "category": entry.question.category,
        "turns": list(entry.question.turns),
        "answers": list(map(_answer, entry.answers)),
        "verdicts": [vars(verdict) for verdict in entry.verdicts],
    }


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "turns": list(answer.turns),
        "tokens": sum(answer.tokens) if answer.tokens else None,
        "drafts": list(answer.extra.get("drafts", ())),
    }


def _json(data: Any) -> str:
    """JSON that may stand in a script element: no character of HTML's, and none that ends a line of JavaScript."""
    text = json.dumps(data, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
