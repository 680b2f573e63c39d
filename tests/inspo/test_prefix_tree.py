"""Packed trees against brute force: what each scored row sees is exactly its own separate sequence."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_cases import EOT, HEADER, PAIR, REQUESTS, SEP, SEPARATORS, L, W, cases, scored_places, separate_sequence

from inspo.conditioning import Conditioning, LogpRequest
from inspo.hf.trees import TreeAttention
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, build_row, concatenate, draw, pack, plan_packs, restrict
from inspo.tree_size import tree_size


def visible(row: PackedRow, query: int) -> np.ndarray:
    """The attention rule, for one query."""
    keys = np.arange(len(row))
    return keys[(keys <= query) & (query < row.subtree_ends)]


def sequence_of(row: PackedRow, target) -> list[int]:
    """Tokens from the root to a target's last row: the sequence that it is scored on, without its last token."""
    return row.tokens[visible(row, target.rows[-1])].tolist()


def assert_scores_the_separate_sequences(row: PackedRow, case, pairs) -> None:
    assert [(t.pair, t.request) for t in row.targets] == [(i, r) for i in range(len(pairs)) for r in case.requests]
    for target in row.targets:
        pair = pairs[target.pair]
        context, response = separate_sequence(pair, target.request, case.separator, case.draft_cap)
        scored = scored_places(pair, target.request.target)
        assert target.labels.tolist() == [response[place] for place in scored]
        seen = visible(row, target.rows[-1])
        assert row.tokens[seen].tolist() == context + response[:-1]
        assert row.positions[seen].tolist() == list(range(len(seen)))
        assert target.rows.tolist() == seen[-len(response) :][scored].tolist()
        # Each row sees its prefix and nothing else; of long targets a few rows are looked at.
        for place, query in list(zip(scored, target.rows, strict=True))[:: 1 + len(scored) // 32]:
            assert visible(row, query).tolist() == seen[: len(context) + place].tolist()


def distinct_prefixes(case, group) -> int:
    """Rows of a tree: its sequences' different prefixes, the last token of each left out."""
    prefixes = set()
    for pair in group:
        for request in case.requests:
            context, target = separate_sequence(pair, request, case.separator, case.draft_cap)
            sequence = (*context, *target)
            prefixes |= {hash(sequence[:n]) for n in range(1, len(sequence))}
    return len(prefixes)


def sequences_of(case, group) -> list[np.ndarray]:
    separate = (separate_sequence(p, r, case.separator, case.draft_cap) for p in group for r in case.requests)
    return [np.array([*context, *target], dtype=np.int32) for context, target in separate]


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


def assert_same_row(row: PackedRow, other: PackedRow) -> None:
    for name in ("tokens", "positions", "subtree_ends"):
        assert getattr(row, name).dtype == np.int32
        assert getattr(row, name).tolist() == getattr(other, name).tolist()
    assert row.paths == other.paths
    assert [t.rows.tolist() for t in row.targets] == [t.rows.tolist() for t in other.targets]


@given(cases())
def test_trees_score_what_separate_sequences_score(case):
    for tree, group in zip(case.trees(), case.groups, strict=True):
        assert_scores_the_separate_sequences(tree, case, group)
        assert_paths_cover_the_row(tree)
        assert len(tree) == tree_size(sequences_of(case, group))
        if len(tree) < 1000:
            assert len(tree) == distinct_prefixes(case, group)


@given(cases())
def test_packed_trees_score_the_same_and_never_see_each_other(case):
    trees = case.trees()
    row = concatenate(trees)
    assert row.records == tuple(pair.record for pair in case.pairs)
    assert_scores_the_separate_sequences(row, case, case.pairs)
    assert_paths_cover_the_row(row)
    for start, end in pairwise(np.cumsum([0, *map(len, trees)])):
        assert visible(row, end - 1).min() >= start
        assert row.subtree_ends[start:end].max() == end
    assert_same_row(row, concatenate(case.trees()))


@given(cases(), st.data())
def test_a_restricted_row_is_as_if_built_for_the_fewer_requests(case, data):
    """Up to the order of siblings, which is that of the row it was cut from."""
    fewer = tuple(data.draw(st.lists(st.sampled_from(case.requests), min_size=1, unique=True), label="fewer requests"))
    row = concatenate(case.trees())
    restricted, built = restrict(row, fewer), concatenate(case.trees(fewer))
    assert len(restricted) == len(built)
    assert restricted.records == built.records
    targets = {(target.pair, target.request): target for target in built.targets}
    assert len(restricted.targets) == len(built.targets)
    for target in restricted.targets:
        other = targets[target.pair, target.request]
        assert target.labels.tolist() == other.labels.tolist()
        assert sequence_of(restricted, target) == sequence_of(built, other)
        seen = visible(restricted, target.rows[-1])
        assert restricted.positions[seen].tolist() == list(range(len(seen)))
        assert restricted.positions[target.rows].tolist() == built.positions[other.rows].tolist()
        assert set(target.rows.tolist()) <= set(seen.tolist())
    assert_paths_cover_the_row(restricted)
    assert paths_in_tokens(restricted) == paths_in_tokens(built)
    assert len(TreeAttention.of(restricted).positions) == len(built)
    assert_same_row(restrict(row, case.requests), row)


def paths_in_tokens(row: PackedRow) -> Counter:
    return Counter(tuple(int(row.tokens[r]) for start, end in path for r in range(start, end)) for path in row.paths)


def test_a_row_cannot_be_restricted_to_what_it_does_not_score():
    row = build_row([PAIR], Conditioning.SYMMETRIC)
    for requests in (Conditioning.NONE, Conditioning.AVERAGED, [LogpRequest(W, W)], []):
        with pytest.raises(ValueError, match="the row scores other requests than"):
            restrict(row, requests)


def test_a_restricted_row_keeps_its_pairs_apart():
    other = replace(PAIR, chosen=(40, EOT), record=18)
    row = restrict(concatenate([build_row([pair], Conditioning.AVERAGED) for pair in (PAIR, other)]), Conditioning.NONE)
    assert [(target.pair, target.labels.tolist()) for target in row.targets] == [
        (0, [20, 21, 22, EOT]),
        (0, [30, 31, EOT]),
        (1, [40, EOT]),
        (1, [30, 31, EOT]),
    ]


def test_symmetric_costs_prompt_and_both_responses_twice_without_the_two_leaf_ends():
    """|x| + 2 |y_w| + 2 |y_l| - 2 = 3 + 8 + 6 - 2 = 15, with no shared prefix."""
    assert len(build_row([PAIR], Conditioning.SYMMETRIC)) == 15


def test_anchored_costs_the_prompt_and_both_responses_thrice_without_the_four_leaf_ends():
    """|x| + 3 |y_w| + 3 |y_l| - 4 = 3 + 12 + 9 - 4 = 20: each response once as context, and after either context."""
    row = build_row([PAIR], Conditioning.ANCHORED)
    assert len(row) == 20
    assert len(restrict(row, Conditioning.SYMMETRIC)) == 15
    assert len(restrict(row, Conditioning.ONE_SIDED)) == 11  # x y_l once, then y_w and y_l without their ends


def test_anchored_shares_the_context_and_what_the_responses_after_it_start_with():
    """After y_l = 3 4 2, y_w = 3 5 2 and y_l itself go on with one 3 and part; likewise after y_w."""
    row = build_row([PreferencePair([1], [3, 5, 2], [3, 4, 2])], Conditioning.ANCHORED)
    #                             x  3 | 4  2  3 | 5 | 4 | 5  2  3 | 5 | 4
    assert row.tokens.tolist() == [1, 3, 4, 2, 3, 5, 4, 5, 2, 3, 5, 4]
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 5, 5, 2, 3, 4, 5, 5]
    assert [(target.request, target.rows.tolist(), target.labels.tolist()) for target in row.targets] == [
        (LogpRequest(W, L), [3, 4, 5], [3, 5, 2]),
        (LogpRequest(L, L), [3, 4, 6], [3, 4, 2]),
        (LogpRequest(W, W), [8, 9, 10], [3, 5, 2]),
        (LogpRequest(L, W), [8, 9, 11], [3, 4, 2]),
    ]


def test_plain_costs_what_the_two_responses_cost():
    """|x| + |y_w| + |y_l| - 2 = 8: nothing that no request needs is there."""
    assert len(build_row([PAIR], Conditioning.NONE)) == 8


@given(cases(most_groups=1))
def test_averaged_costs_no_more_than_symmetric(case):
    """The plain log-probs are scored at the context copies, unless a separator or a cap parts the two."""
    averaged = Conditioning.AVERAGED
    symmetric = build_row(case.pairs, Conditioning.SYMMETRIC)
    assert len(build_row(case.pairs, averaged)) == len(symmetric)
    assert len(build_row(case.pairs, [*averaged.requests(), *averaged.reference_requests()])) == len(symmetric)


@given(cases(most_groups=1))
def test_the_plain_reference_of_anchored_costs_nothing(case):
    """It is scored at the context copies."""
    anchored = Conditioning.ANCHORED
    with_reference = build_row(case.pairs, [*anchored.requests(), *anchored.reference_requests()])
    assert len(with_reference) == len(build_row(case.pairs, anchored))


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


def test_a_row_needs_pairs_and_requests():
    with pytest.raises(ValueError, match="at least one pair"):
        build_row([], Conditioning.NONE)
    with pytest.raises(ValueError, match="at least one request"):
        build_row([PAIR], [])
    with pytest.raises(ValueError, match="no rows"):
        concatenate([])


@given(st.lists(st.integers(1, 50), max_size=40), st.booleans())
def test_packs_hold_every_tree_once_within_the_budget(lengths, in_order):
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


def test_the_picture_in_the_docs_is_what_the_code_there_prints(capsys):
    page = (Path(__file__).parents[2] / "docs" / "prefix_trees.md").read_text(encoding="utf-8")
    (code,), (picture,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "text"))
    exec(code, {})  # noqa: S102  # our own page
    assert capsys.readouterr().out == picture
