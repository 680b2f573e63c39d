"""Packed trees against brute force: what each scored row sees is exactly its own separate sequence."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, build_row, concatenate, draw, pack, plan_packs
from inspo.sequences import NO_SEPARATOR, Limits, Separator, fit

W, L = Role.CHOSEN, Role.REJECTED
PLAIN = (LogpRequest(W), LogpRequest(L))
EOT, HEADER, SEP = 2, (3, 4), 5
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
    "one_sided and metrics": (*Conditioning.ONE_SIDED.requests(), *PLAIN),
    "everything": tuple(LogpRequest(target, context) for context in (None, W, L) for target in (W, L)),
}


@dataclass(frozen=True)
class Case:
    """One random row: trees (groups of pairs) to be packed together, and how they are built."""

    groups: list[list[PreferencePair]]
    requests: tuple[LogpRequest, ...]
    separator: Separator
    draft_cap: int | None

    def trees(self) -> list[PackedRow]:
        return [
            build_row(group, self.requests, separator=self.separator, draft_cap=self.draft_cap) for group in self.groups
        ]


def random_case(seed: int, share_of_long: float = 0.05) -> Case:
    """Small vocabularies make accidental sharing common; a few cases are as long as real data."""
    rng = random.Random(seed)  # noqa: S311  # not for secrets
    long = rng.random() < share_of_long
    vocabulary = range(10, rng.choice((11, 12, 14, 500)))

    def tokens(most: int) -> list[int]:
        return rng.choices(vocabulary, k=rng.randint(1, 1024 if long else most))

    def pair(prompt: list[int], record: int) -> PreferencePair:
        opening = tokens(6) if rng.random() < 0.5 else []  # responses that start alike
        while True:
            chosen, rejected = ([*opening, *tokens(8), EOT] for _ in range(2))
            if rng.random() < 0.3:
                rejected = chosen[: rng.randint(1, len(chosen))]  # one response a prefix of the other
            if chosen != rejected:
                return PreferencePair(prompt, chosen, rejected, record)

    groups = []
    for group in range(rng.randint(1, 3)):
        prompt = tokens(9)
        turns = [prompt, prompt, [*prompt, *tokens(5)]]  # the same prompt twice, and a later turn of it
        pairs = [pair(rng.choice(turns), 10 * group + i) for i in range(rng.randint(1, 3))]
        groups.append([*pairs, pairs[0]] if rng.random() < 0.2 else pairs)  # an equal sibling
    requests = list(REQUESTS.values())[seed % len(REQUESTS)]
    separator = list(SEPARATORS.values())[seed // len(REQUESTS) % len(SEPARATORS)]
    return Case(groups, requests, separator, rng.choice((None, None, 1, 3, 6)))


def separate_sequence(pair, request, separator, draft_cap):
    """Context and target as two lists, written down independently of the library."""
    responses = {W: list(pair.chosen), L: list(pair.rejected)}
    context = list(pair.prompt)
    if request.context is not None:
        draft = responses[request.context]
        draft = draft if draft_cap is None else draft[:draft_cap]
        context += {"none": [], "turn": [], "token": [SEP]}[separator] + draft
        context += {"none": [], "turn": list(HEADER), "token": [SEP]}[separator]
    return context, responses[request.target]


def separator_name(separator):
    return next(name for name, value in SEPARATORS.items() if value == separator)


def visible(row: PackedRow, query: int) -> np.ndarray:
    """The attention rule, for one query."""
    keys = np.arange(len(row))
    return keys[(keys <= query) & (query < row.subtree_ends)]


def assert_scores_the_separate_sequences(row: PackedRow, pairs, requests, separator, draft_cap) -> None:
    assert [(t.pair, t.request) for t in row.targets] == [(i, r) for i in range(len(pairs)) for r in requests]
    for target in row.targets:
        context, labels = separate_sequence(pairs[target.pair], target.request, separator_name(separator), draft_cap)
        assert target.labels.tolist() == labels
        seen = visible(row, target.rows[-1])
        assert row.tokens[seen].tolist() == context + labels[:-1]
        assert row.positions[seen].tolist() == list(range(len(seen)))
        assert target.rows.tolist() == seen[-len(labels) :].tolist()
        # Each row sees its prefix and nothing else; of long targets a few rows are looked at.
        for i, query in list(enumerate(target.rows))[:: 1 + len(labels) // 32]:
            assert visible(row, query).tolist() == seen[: len(context) + i].tolist()


def distinct_prefixes(case: Case, group) -> int:
    """Rows of a tree: its sequences' different prefixes, the last token of each left out."""
    prefixes = set()
    for pair in group:
        for request in case.requests:
            context, target = separate_sequence(pair, request, separator_name(case.separator), case.draft_cap)
            sequence = (*context, *target)
            prefixes |= {hash(sequence[:n]) for n in range(1, len(sequence))}
    return len(prefixes)


def assert_paths_cover_the_row(row: PackedRow) -> None:
    """Every row is on a path, in depth-first order; a path is what its last row sees."""
    nodes = sorted({node for path in row.paths for node in path})
    assert [node[0] for node in nodes] == [0, *(node[1] for node in nodes[:-1])]
    assert nodes[-1][1] == len(row)
    assert list(row.paths) == sorted(row.paths, key=lambda path: path[-1])
    for path in row.paths:
        rows = [r for start, end in path for r in range(start, end)]
        assert rows == visible(row, rows[-1]).tolist()
        assert row.subtree_ends[rows[-1]] == rows[-1] + 1  # a leaf


@pytest.mark.parametrize("seed", range(240))
def test_random_trees_score_what_separate_sequences_score(seed):
    case = random_case(seed)
    trees = case.trees()
    for tree, group in zip(trees, case.groups, strict=True):
        assert_scores_the_separate_sequences(tree, group, case.requests, case.separator, case.draft_cap)
        assert_paths_cover_the_row(tree)
        if len(tree) < 1000:
            assert len(tree) == distinct_prefixes(case, group)
        for array in (tree.tokens, tree.positions, tree.subtree_ends, *(t.rows for t in tree.targets)):
            assert array.dtype == np.int64


@pytest.mark.parametrize("seed", range(240))
def test_packed_trees_score_the_same_and_never_see_each_other(seed):
    case = random_case(seed)
    trees = case.trees()
    row = concatenate(trees)
    pairs = [pair for group in case.groups for pair in group]
    assert row.records == tuple(pair.record for pair in pairs)
    assert_scores_the_separate_sequences(row, pairs, case.requests, case.separator, case.draft_cap)
    assert_paths_cover_the_row(row)
    starts = np.cumsum([0, *map(len, trees)])
    for start, end in pairwise(starts):
        assert visible(row, end - 1).min() >= start
        assert row.subtree_ends[start:end].max() == end
    again = concatenate(case.trees())
    assert (row.tokens == again.tokens).all()
    assert row.paths == again.paths


PAIR = PreferencePair([10, 11, 12], [20, 21, 22, EOT], [30, 31, EOT], record=17)


def test_symmetric_costs_prompt_and_both_responses_twice_without_the_two_leaf_ends():
    """|x| + 2 |y_w| + 2 |y_l| - 2 = 3 + 8 + 6 - 2 = 15, with no shared prefix."""
    assert len(build_row([PAIR], Conditioning.SYMMETRIC)) == 15


def test_plain_costs_what_the_two_responses_cost():
    """|x| + |y_w| + |y_l| - 2 = 8: nothing that no request needs is there."""
    assert len(build_row([PAIR], Conditioning.NONE)) == 8


@pytest.mark.parametrize("seed", range(20))
def test_averaged_costs_no_more_than_symmetric(seed):
    """The plain log-probs are scored at the context copies, unless a separator or a cap parts the two."""
    pairs = random_case(seed).groups[0]
    symmetric, averaged = (
        build_row(pairs, conditioning) for conditioning in (Conditioning.SYMMETRIC, Conditioning.AVERAGED)
    )
    assert len(averaged) == len(symmetric)
    everything = build_row(pairs, [*Conditioning.AVERAGED.requests(), *Conditioning.AVERAGED.reference_requests()])
    assert len(everything) == len(symmetric)


def test_a_capped_draft_is_a_prefix_of_the_full_response_and_the_tree_parts_at_the_cap():
    """x y_l[:2] is shared by log pi(y_l | x), which goes on with y_l, and log pi(y_w | x, y_l[:2])."""
    row = build_row([PAIR], [LogpRequest(L), LogpRequest(W, L)], draft_cap=2)
    assert row.tokens.tolist() == [10, 11, 12, 30, 31, 20, 21, 22]
    plain, crossed = row.targets
    assert plain.rows.tolist() == [2, 3, 4]
    assert plain.labels.tolist() == [30, 31, EOT]  # the cap never shortens a target
    assert crossed.rows.tolist() == [4, 5, 6, 7]


def test_pairs_on_one_prompt_share_it():
    other = replace(PAIR, chosen=(40, EOT), record=18)
    assert len(build_row([PAIR, other], Conditioning.NONE)) == len(build_row([PAIR], Conditioning.NONE)) + 1


def test_equal_pairs_share_every_row():
    assert len(build_row([PAIR, PAIR], Conditioning.AVERAGED)) == len(build_row([PAIR], Conditioning.AVERAGED))


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize("requests", REQUESTS.values(), ids=REQUESTS)
def test_headers_and_separators_are_never_scored(separator, requests):
    """As in SimPO#17: labels are the response's tokens, all of them and no others."""
    row = build_row([PAIR], requests, separator=separator)
    for target in row.targets:
        assert target.labels.tolist() == list(PAIR.chosen if target.request.target is W else PAIR.rejected)
        assert not set(target.labels.tolist()) & {*HEADER, SEP}


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
def test_the_context_keeps_exactly_one_end_of_turn(separator):
    """As in axolotl#1616: in x y_l y_w one end-of-turn token, y_l's own, precedes the target."""
    row = build_row([PAIR], Conditioning.SYMMETRIC, separator=separator)
    for target in row.targets:
        context = row.tokens[visible(row, target.rows[0])].tolist()
        assert context.count(EOT) == 1
        assert target.labels.tolist().count(EOT) == 1
        assert context.index(EOT) == len(context) - 1 - len(separator.before_target)


def test_the_separator_of_equations_14_and_15():
    first, second = build_row([PAIR], Conditioning.SYMMETRIC, separator=SEPARATORS["token"]).paths
    row = build_row([PAIR], Conditioning.SYMMETRIC, separator=SEPARATORS["token"])
    sequences = [[int(row.tokens[i]) for start, end in path for i in range(start, end)] for path in (first, second)]
    assert sequences == [
        [10, 11, 12, SEP, 30, 31, EOT, SEP, 20, 21, 22],
        [10, 11, 12, SEP, 20, 21, 22, EOT, SEP, 30, 31],
    ]


def test_separators_are_read_from_a_configuration():
    vocabulary = {"<sep>": 5, "7x": 8}
    assert Separator.parse("none") == Separator()
    assert Separator.parse("turn", header_tokens=[3, 4]) == Separator((), (3, 4))
    assert Separator.parse("token:<sep>", vocabulary.get) == Separator((5,), (5,))
    assert Separator.parse("token:7", vocabulary.get) == Separator((7,), (7,))
    assert Separator.parse("token:7x", vocabulary.get) == Separator((8,), (8,))


@pytest.mark.parametrize("text", ["", "newline", "token", "token:", "token:<pad>", "turn"])
def test_unreadable_separators_are_errors(text):
    with pytest.raises(ValueError, match="separator"):
        Separator.parse(text, {"<sep>": 5}.get)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rejected": ()}, "record 17: the rejected response is empty"),
        ({"prompt": ()}, "record 17: the prompt is empty"),
        ({"rejected": PAIR.chosen}, "record 17: chosen and rejected are the same"),
        ({"chosen": (3, -100)}, "record 17: the chosen response holds the negative token id -100"),
        ({"chosen": (0.5,)}, "record 17: the chosen response must be a flat sequence of token ids"),
        ({"chosen": ((1, 2), (3, 4))}, "record 17: the chosen response must be a flat sequence"),
        ({"preference": 1.5}, "record 17: preference = 1.5"),
        ({"preference": float("nan")}, "record 17: preference = nan"),
    ],
)
def test_malformed_pairs_are_errors_that_name_the_record(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PAIR, **change)


def test_tokens_outside_the_vocabulary_are_errors_that_name_the_record():
    PAIR.check_vocabulary(32)
    with pytest.raises(ValueError, match="record 17: token id 31 is outside the vocabulary of 31"):
        PAIR.check_vocabulary(31)


def test_a_row_needs_pairs_and_requests():
    with pytest.raises(ValueError, match="at least one pair"):
        build_row([], Conditioning.NONE)
    with pytest.raises(ValueError, match="at least one request"):
        build_row([PAIR], [])
    with pytest.raises(ValueError, match="no rows"):
        concatenate([])


def sequence_lengths(pair, requests, separator="none", draft_cap=None):
    return [sum(map(len, separate_sequence(pair, request, separator, draft_cap))) for request in requests]


def test_pairs_within_the_limits_are_left_alone():
    """The longest sequence, x y_l y_w, has 3 + 3 + 4 = 10 tokens."""
    fitted = fit([PAIR], Conditioning.SYMMETRIC, Limits(max_length=10, draft_cap=0.4))
    assert fitted.pairs == (PAIR,)
    assert not any(fitted.counts.values())
    assert fitted.dropped == ()


def test_the_prompt_is_cut_from_the_left_and_keeps_its_head():
    fitted = fit([PAIR], Conditioning.SYMMETRIC, Limits(max_length=9))
    assert fitted.pairs[0].prompt == (11, 12)
    with_head = fit([PAIR], Conditioning.SYMMETRIC, Limits(max_length=9, prompt_head=1))
    assert with_head.pairs[0].prompt == (10, 12)
    assert with_head.counts["prompt_cut"] == 1


def test_responses_are_cut_to_the_greatest_common_length():
    """Room for 9 - 3 = 6 tokens: both responses to 3. With 3 - 3 = 0 they would be empty: an error."""
    limits = Limits(max_length=9, over_length=("cut_responses",))
    fitted = fit([PAIR], Conditioning.SYMMETRIC, limits)
    assert fitted.pairs[0] == replace(PAIR, chosen=(20, 21, 22))
    assert fitted.counts["responses_cut"] == 1


@pytest.mark.parametrize("max_length", [2, 3, 4])
def test_truncation_never_leaves_an_empty_response(max_length):
    """As in trl#6548: a prompt as long as the limit is an error or a counted drop, no NaN."""
    with pytest.raises(ValueError, match="record 17: a prompt of 3 and responses of 4 and 3 tokens need 10"):
        fit([PAIR], Conditioning.SYMMETRIC, Limits(max_length=max_length, over_length=("cut_prompt", "cut_responses")))
    limits = Limits(max_length=max_length, over_length=("cut_prompt", "cut_responses", "drop"))
    fitted = fit([PAIR, replace(PAIR, prompt=(1,), chosen=(2,), rejected=(3,))], Conditioning.NONE, limits)
    assert all(pair.prompt and pair.chosen and pair.rejected for pair in fitted.pairs)
    assert len(fitted.pairs) + len(fitted.dropped) == 2
    assert fitted.counts["dropped_over_length"] == len(fitted.dropped)


def test_responses_are_not_cut_to_equal_ones():
    """Cut to one token, 20 21 and 20 31 would carry no preference."""
    pair = PreferencePair([10, 11], [20, 21], [20, 31], record="a")
    limits = Limits(max_length=3, over_length=("cut_responses", "drop"))
    fitted = fit([pair], Conditioning.NONE, limits)
    assert fitted.pairs == ()
    assert fitted.dropped == ("a",)


@pytest.mark.parametrize("over_cap", ["cut", "drop"])
def test_the_cap_holds_for_contexts_only(over_cap):
    """alpha = 0.3 of 10 tokens is 3: y_w (4 tokens) exceeds it, but only `symmetric` has it as context."""
    limits = Limits(max_length=10, draft_cap=0.3, over_cap=over_cap)
    assert limits.draft_tokens == 3
    for conditioning, exceeds in [(Conditioning.NONE, 0), (Conditioning.ONE_SIDED, 0), (Conditioning.SYMMETRIC, 1)]:
        fitted = fit([PAIR], conditioning, limits)
        assert fitted.counts["draft_cut" if over_cap == "cut" else "dropped_over_cap"] == exceeds
        assert fitted.pairs == (() if exceeds and over_cap == "drop" else (PAIR,))


@pytest.mark.parametrize("seed", range(200))
def test_whatever_fits_is_within_the_limits_and_as_long_as_they_allow(seed):
    rng = random.Random(seed)  # noqa: S311  # not for secrets
    case = random_case(seed, share_of_long=0)
    pairs = [pair for group in case.groups for pair in group]
    limits = Limits(
        max_length=rng.randint(8, 40),
        over_length=(*rng.sample(("cut_prompt", "cut_responses"), rng.randint(0, 2)), "drop"),
        draft_cap=rng.choice((None, 0.25, 0.5)),
        over_cap=rng.choice(("cut", "drop")),
    )
    fitted = fit(pairs, case.requests, limits, separator=case.separator)
    name, cap = separator_name(case.separator), limits.draft_tokens
    kept = {pair.record: pair for pair in fitted.pairs}
    assert len(fitted.pairs) + len(fitted.dropped) == len(pairs)
    drops = fitted.counts["dropped_over_length"] + fitted.counts["dropped_over_cap"]
    assert drops == len(fitted.dropped)
    for pair in pairs:
        if pair.record not in kept:
            continue
        longest = max(sequence_lengths(kept[pair.record], case.requests, name, cap))
        assert longest <= limits.max_length
        row = build_row([kept[pair.record]], case.requests, separator=case.separator, draft_cap=cap)
        assert row.positions.max() + 2 == longest  # one less for counting from zero, one for the leaf's end
        if kept[pair.record].prompt != pair.prompt:
            assert longest == limits.max_length
            assert pair.prompt[-len(kept[pair.record].prompt) :] == kept[pair.record].prompt


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 1},
        {"max_length": 10, "over_length": ("shorten",)},
        {"max_length": 10, "over_length": "drop"},
        {"over_cap": "warn"},
        {"prompt_head": -1},
        {"draft_cap": 0.4},
        {"max_length": 10, "draft_cap": 1.1},
        {"max_length": 10, "draft_cap": 0.0},
        {"max_length": 10, "draft_cap": 0.05},
    ],
)
def test_limits_out_of_range_are_errors(options):
    with pytest.raises(ValueError, match=r"max_length|over_length|over_cap|prompt_head|draft_cap"):
        Limits(**options)


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_packs_hold_every_tree_once_within_the_budget(seed, in_order):
    rng = random.Random(seed)  # noqa: S311  # not for secrets
    lengths = [rng.randint(1, 50) for _ in range(rng.randint(0, 40))]
    packs = plan_packs(lengths, 50, in_order=in_order)
    loads = [sum(lengths[index] for index in members) for members in packs]
    assert sorted(index for members in packs for index in members) == list(range(len(lengths)))
    assert all(load <= 50 for load in loads)
    if in_order:
        assert [index for members in packs for index in members] == list(range(len(lengths)))
    assert all(a + b > 50 for a, b in pairwise(loads)) or not in_order
    assert len(packs) <= 2 * sum(lengths) / 50 + 1  # no two packs could be one


def test_longest_first_packs_tighter_than_in_order():
    """4 + 6 and 5 + 5 fill two rows of ten; in order, 4 + 5 | 6 | 5 takes three."""
    assert plan_packs([4, 5, 6, 5], 10) == [[0, 2], [1, 3]]
    assert plan_packs([4, 5, 6, 5], 10, in_order=True) == [[0, 1], [2], [3]]


def test_packing_keeps_pairs_records_and_targets_together():
    pairs = [replace(PAIR, record=record, chosen=(40 + record, EOT)) for record in range(7)]
    trees = [build_row([pair], Conditioning.SYMMETRIC) for pair in pairs]
    rows = pack(trees, token_budget=2 * len(trees[0]))
    assert [len(row.records) for row in rows] == [2, 2, 2, 1]
    for row in rows:
        for target in row.targets:
            if target.request.target is W:
                assert target.labels[0] == 40 + row.records[target.pair]


def test_a_tree_larger_than_the_row_is_an_error_that_names_the_record():
    with pytest.raises(ValueError, match="record 17: its tree of 15 tokens exceeds the row of 14"):
        pack([build_row([PAIR], Conditioning.SYMMETRIC)], 14)
    with pytest.raises(ValueError, match="tree 1 of 9 tokens exceeds the row of 8"):
        plan_packs([1, 9], 8)


def test_the_picture_names_pairs_and_elides_what_is_long():
    long = PreferencePair([10], [*range(20, 40)], [EOT])
    picture = draw(build_row([long, PAIR], Conditioning.NONE), lambda token: f"t{token}", max_tokens=3)
    assert picture.splitlines() == [
        "[0:1] depth 0: t10",
        "│ pair 0: log pi(rejected | x) at rows [0:1]: t2",
        "├─ [1:20] depth 1: t20 t21 ... t38 (19 tokens)",
        "│    pair 0: log pi(chosen | x) at rows [0:20]: t20 t21 ... t39 (20 tokens)",
        "└─ [20:22] depth 1: t11 t12",
        "   ├─ [22:25] depth 3: t20 t21 t22",
        "   │    pair 1: log pi(chosen | x) at rows [21:25]: t20 t21 ... t2 (4 tokens)",
        "   └─ [25:27] depth 3: t30 t31",
        "        pair 1: log pi(rejected | x) at rows [21:22] [25:27]: t30 t31 t2",
    ]


def test_building_a_tree_of_a_thousand_tokens_takes_a_fraction_of_a_millisecond():
    """About 0.2 ms; the bound of 2 ms is under 3 % of a CPU training step of a tiny model."""
    rng = random.Random(0)  # noqa: S311  # not for secrets
    tokens = [rng.choices(range(10, 30_000), k=k) for k in (300, 400, 300)]
    pair = PreferencePair(*tokens)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        build_row([pair], Conditioning.SYMMETRIC)
        times.append(time.perf_counter() - start)
    assert min(times) < 2e-3


def test_the_picture_in_the_docs_is_what_the_code_there_prints(capsys):
    page = (Path(__file__).parents[2] / "docs" / "prefix_trees.md").read_text(encoding="utf-8")
    (code,), (picture,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "text"))
    exec(code, {})  # noqa: S102  # our own page
    assert capsys.readouterr().out == picture
