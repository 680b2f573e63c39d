"""Hypothesis strategies for pairs in tokens and for rows made of them, and their sequences written down anew."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, build_row
from inspo.sequences import NO_SEPARATOR, Separator

W, L = Role.CHOSEN, Role.REJECTED
PLAIN = (LogpRequest(W), LogpRequest(L))
EOT, HEADER, SEP = 2, (3, 4), 5
PAIR = PreferencePair([10, 11, 12], [20, 21, 22, EOT], [30, 31, EOT], record=17)
SEPARATORS = {
    "none": NO_SEPARATOR,
    "turn": Separator.parse("turn", header_tokens=HEADER),
    "token": Separator.parse(f"token:{SEP}"),
}
REQUESTS = {
    "none": Conditioning.NONE.requests(),
    "one_sided": Conditioning.ONE_SIDED.requests(),
    "symmetric": Conditioning.SYMMETRIC.requests(),
    "averaged": Conditioning.AVERAGED.requests(),
    "anchored": Conditioning.ANCHORED.requests(),
    "one_sided and metrics": (*Conditioning.ONE_SIDED.requests(), *PLAIN),
    "everything": tuple(LogpRequest(target, context) for context in (None, W, L) for target in (W, L)),
}


def separate_sequence(pair, request, separator, draft_cap):
    """Context and target as two lists, written down independently of the library; the separator by its name."""
    responses = {W: list(pair.chosen), L: list(pair.rejected)}
    context = list(pair.prompt)
    if request.context is not None:
        draft = responses[request.context]
        draft = draft if draft_cap is None else draft[:draft_cap]
        context += {"none": [], "turn": [], "token": [SEP]}[separator] + draft
        context += {"none": [], "turn": list(HEADER), "token": [SEP]}[separator]
    return context, responses[request.target]


def scored_places(pair, role):
    """Which places of a response are scored, written down independently of the library."""
    tokens, masked = (pair.chosen, pair.chosen_masked) if role is W else (pair.rejected, pair.rejected_masked)
    return [place for place in range(len(tokens)) if not any(start <= place < end for start, end in masked)]


@dataclass(frozen=True)
class Case:
    """A row: trees (groups of pairs) to be packed together, and how they are built.

    The requests and the separator are keys of REQUESTS and SEPARATORS.
    """

    groups: list[list[PreferencePair]]
    requests_name: str
    separator: str
    draft_cap: int | None

    @property
    def requests(self) -> tuple[LogpRequest, ...]:
        return REQUESTS[self.requests_name]

    @property
    def pairs(self) -> list[PreferencePair]:
        return [pair for group in self.groups for pair in group]

    def trees(self, requests: tuple[LogpRequest, ...] | None = None) -> list[PackedRow]:
        separator = SEPARATORS[self.separator]
        return [
            build_row(group, requests or self.requests, separator=separator, draft_cap=self.draft_cap)
            for group in self.groups
        ]


@st.composite
def token_lists(draw, vocabulary, longest):
    """At least one token; once in a while a short list many times over, as long as real data."""
    tokens = draw(st.lists(st.sampled_from(vocabulary), min_size=1, max_size=longest))
    return tokens * draw(st.sampled_from((1,) * 19 + (1024 // longest,)))


def masks(tokens):
    """Mostly none; else one or two spans within a response."""
    edges = st.lists(st.integers(1, max(1, len(tokens) - 1)), unique=True, max_size=4).map(sorted)
    return st.just(()) | edges.map(lambda at: tuple(zip(at[::2], at[1::2], strict=False)))


@st.composite
def pairs(draw, prompt, vocabulary, record):
    """Also responses that start alike, and one response the prefix of the other; some with turns between replies."""
    opening = draw(st.just([]) | token_lists(vocabulary, 6))
    chosen = [*opening, *draw(token_lists(vocabulary, 8)), EOT]
    prefix = st.integers(1, len(chosen) - 1).map(lambda length: chosen[:length])
    other = token_lists(vocabulary, 8).map(lambda tokens: [*opening, *tokens, EOT]).filter(lambda it: it != chosen)
    rejected = draw(st.one_of(other, other, prefix))
    masked = {"chosen_masked": draw(masks(chosen)), "rejected_masked": draw(masks(rejected))}
    return PreferencePair(prompt, chosen, rejected, record, **masked)


@st.composite
def groups(draw, vocabulary, first_record):
    """Pairs that share a prompt, an earlier turn of it, or everything."""
    prompt = draw(token_lists(vocabulary, 9))
    later_turn = [*prompt, *draw(token_lists(vocabulary, 5))]
    group = [
        draw(pairs(draw(st.sampled_from((prompt, prompt, later_turn))), vocabulary, first_record + index))
        for index in range(draw(st.integers(1, 3)))
    ]
    return [*group, group[0]] if draw(st.booleans()) else group


@st.composite
def cases(draw, most_groups=3):
    """Small vocabularies make accidental sharing common."""
    vocabulary = range(10, 10 + draw(st.sampled_from((490, 4, 2, 1))))
    return Case(
        [draw(groups(vocabulary, 10 * number)) for number in range(draw(st.integers(1, most_groups)))],
        draw(st.sampled_from(sorted(REQUESTS))),
        draw(st.sampled_from(sorted(SEPARATORS))),
        draw(st.sampled_from((None, 1, 3, 6))),
    )
