"""What the model will see of a pair: each scored sequence token by token, with its role, in a terminal or as a page.

    prompt      x, with what the template writes around it
    separator   what stands around a context
    context     the other response, y'
    target      the tokens whose log-probs are compared; all others are read and never scored
    masked      between the replies of a target that is a conversation: the user's turns, the next header

Roles are read off the prefix tree that is trained on, not off the text.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from inspo.conditioning import LogpRequest
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, ScoredTarget
from inspo.sequences import Separator

Role = Literal["prompt", "separator", "context", "target", "masked"]

ROLES: dict[Role, tuple[str, str]] = {
    "prompt": ("36", "read"),
    "separator": ("2", "read"),
    "context": ("33", "read: the other response"),
    "target": ("1;32", "scored"),
    "masked": ("35", "read: between replies"),
}
"""Of each role its ANSI color, and what is done with its tokens."""


@dataclass(frozen=True)
class Token:
    """One token of a scored sequence.

    Attributes:
        id: of the vocabulary.
        depth: its place in the sequence, which is its position id; 0 is the first.
        row: of the hidden state in the tree's packed row that reads it; None of a last token, which nothing reads.
        role: what it is there for.
    """

    id: int
    depth: int
    row: int | None
    role: Role


@dataclass(frozen=True)
class Scored:
    """One log-prob that training asks for.

    Attributes:
        request: which response given which.
        tokens: from the first of the prompt to the last of the target.
        by: who asks: the policy, the reference or both.
    """

    request: LogpRequest
    tokens: tuple[Token, ...]
    by: str


@dataclass(frozen=True)
class Inspected:
    """A pair as it is trained on.

    Attributes:
        record: its name.
        preference: probability that chosen is better.
        sequences: in the order of the tree's targets.
        rows: tokens that are computed for all of them together.
    """

    record: int | str
    preference: float
    sequences: tuple[Scored, ...]
    rows: int


def inspect(
    pair: PreferencePair,
    tree: PackedRow,
    separator: Separator,
    policy: Sequence[LogpRequest],
    reference: Sequence[LogpRequest],
) -> Inspected:
    """Read off a pair's tree what is scored and what is only read.

    Args:
        pair: within its limits.
        tree: its own, of this pair alone.
        separator: around a context.
        policy: what the policy scores.
        reference: what the reference scores.
    """
    asking = {"policy": policy, "reference": reference}
    sequences = tuple(
        Scored(
            target.request,
            tuple(_tokens(pair, tree, target, separator)),
            " and ".join(who for who, requests in asking.items() if target.request in requests),
        )
        for target in tree.targets
    )
    return Inspected(pair.record, pair.preference, sequences, len(tree))


def _tokens(pair: PreferencePair, tree: PackedRow, target: ScoredTarget, separator: Separator) -> Iterator[Token]:
    """A target's sequence: the rows above its last one, and its last label, which has no row."""
    last = int(target.rows[-1])
    above = np.flatnonzero((np.arange(len(tree)) <= last) & (last < tree.subtree_ends))
    ids = np.append(tree.tokens[above], target.labels[-1])
    scored = np.searchsorted(above, target.rows) + 1
    first = int(scored[0])
    if (ids[scored] != target.labels).any() or tuple(ids[: len(pair.prompt)].tolist()) != pair.prompt:
        raise AssertionError(f"record {pair.record}: the tree does not hold what it scores")
    begins = len(pair.prompt) + len(separator.before_context)
    context = range(0) if target.request.context is None else range(begins, first - len(separator.before_target))
    targets = set(scored.tolist())
    for depth, token in enumerate(ids.tolist()):
        role: Role = (
            "target" if depth in targets else "masked" if depth > first else "prompt" if depth < len(pair.prompt) else
            "context" if depth in context else "separator"
        )  # fmt: skip
        yield Token(token, depth, int(above[depth]) if depth < len(above) else None, role)


def _title(scored: Scored) -> str:
    """``log pi(chosen | x, rejected): 12 of 40 tokens scored, policy and reference``."""
    request = scored.request
    given = "x" if request.context is None else f"x, {request.context.value}"
    count = sum(token.role == "target" for token in scored.tokens)
    return f"log pi({request.target.value} | {given}): {count} of {len(scored.tokens)} tokens scored, {scored.by}"


def _heading(found: Inspected) -> str:
    apart = sum(len(scored.tokens) for scored in found.sequences)
    preference = "" if found.preference == 1 else f", preference {found.preference:g}"
    return f"record {found.record}{preference}: {found.rows} tokens in one tree, {apart} in separate sequences"


def _visible(text: str) -> str:
    """A token's text on one line, with nothing in it that a terminal obeys."""
    text = text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}").replace("\t", "\N{RIGHTWARDS ARROW TO BAR}")
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def as_text(found: Inspected, decode: Callable[[int], str], *, each: bool = False, color: bool = False) -> str:
    """A pair for a terminal.

    Args:
        found: the pair.
        decode: token id -> text.
        each: one line a token, with id, depth and row; else one line a run of tokens of one role.
        color: whether the terminal shows colors.
    """

    def painted(role: Role, text: str) -> str:
        return f"\033[{ROLES[role][0]}m{text}\033[0m" if color else text

    lines = [_heading(found)]
    for scored in found.sequences:
        lines += ["", _title(scored)]
        if each:
            lines.append(f"  {'depth':>6} {'row':>6} {'id':>7}  role       token")
            for token in scored.tokens:
                row = "" if token.row is None else token.row
                text = _visible(decode(token.id))
                lines.append(painted(token.role, f"  {token.depth:6} {row:>6} {token.id:7}  {token.role:9}  {text}"))
            continue
        for role, run in groupby(scored.tokens, key=lambda token: token.role):
            tokens = list(run)
            places = f"{tokens[0].depth}-{tokens[-1].depth}"
            text = "".join(_visible(decode(token.id)) for token in tokens)
            lines.append(f"  {role:9} {places:>11}  {painted(role, text)}")
    return "\n".join(lines)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>What the model sees</title><style>
:root {{ color-scheme: light dark; --prompt: light-dark(#dbe9f6, #12354f); --separator: light-dark(#e6e6e6, #3a3a3a);
--context: light-dark(#fdecc8, #54400b); --target: light-dark(#cdebc9, #14491c);
--masked: light-dark(#f3dff2, #4a2349); }}
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem; }}
h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .3rem; }}
h3 {{ font-size: .95rem; font-weight: 600; margin: 1.1rem 0 .35rem; }}
ol {{ list-style: none; display: flex; flex-wrap: wrap; gap: 2px; padding: 0; margin: 0; }}
ol li {{ font: .8rem ui-monospace, monospace; padding: 1px 4px; border-radius: 3px; max-width: 100%; }}
ol li span {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
ol li small {{ display: block; font-size: .65rem; opacity: .85; }}
.target {{ font-weight: 700; outline: 1px solid; }} {colors}
</style></head><body><h1>What the model sees</h1>
<ol>{legend}</ol><p>Below each token: its depth, which is its position id, and its id in the vocabulary.</p>
{pairs}</body></html>
"""


def as_page(pairs: Sequence[Inspected], decode: Callable[[int], str]) -> str:
    """Pairs as one self-contained HTML file; text of data is escaped, and the page runs no script.

    Args:
        pairs: in their order.
        decode: token id -> text.
    """

    def shown(scored: Scored) -> str:
        tokens = "".join(
            f'<li class="{token.role}"><span>{html.escape(_visible(decode(token.id)))}</span>'
            f"<small>{token.depth} \N{MIDDLE DOT} {token.id}</small></li>"
            for token in scored.tokens
        )
        return f"<h3>{html.escape(_title(scored))}</h3><ol>{tokens}</ol>"

    parts = [f"<h2>{html.escape(_heading(pair))}</h2>{''.join(map(shown, pair.sequences))}" for pair in pairs]
    return _PAGE.format(
        colors=" ".join(f".{role} {{ background: var(--{role}); }}" for role in ROLES),
        legend="".join(f'<li class="{role}">{role}<small>{what}</small></li>' for role, (_, what) in ROLES.items()),
        pairs="\n".join(parts),
    )
