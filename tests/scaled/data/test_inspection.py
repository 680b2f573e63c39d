"""What `inspect` shows is what the loss reads: roles, ids, depths and rows, in a terminal and on a page."""

import re

import pytest
from real_tokenizers import NAMES, real_tokenizer
from tiny_base import ROOT

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from inspo.sequences import NO_SEPARATOR, Separator, scored_sequence
from scaled.config import load
from scaled.data.__main__ import main
from scaled.data.inspection import as_page, as_text, inspect
from scaled.data.templates import Template
from scaled.data.tokens import tokenize
from scaled.run.seen import seen, text_of

ALL = Conditioning.AVERAGED.requests()
TINY = ROOT / "scaled/configs/tiny.yaml"


def inspected(pair, separator=NO_SEPARATOR, draft_cap=None, requests=ALL):
    tree = build_row([pair], requests, separator=separator, draft_cap=draft_cap)
    return inspect(pair, tree, separator, requests, requests[:1]), tree


def check(pair, tree, found, separator, draft_cap=None):
    """Token by token against the sequences of Eq. (14)-(15) and against what the tree's targets score."""
    for target, scored in zip(tree.targets, found.sequences, strict=True):
        assert tuple(token.id for token in scored.tokens) == scored_sequence(
            pair, scored.request, separator=separator, draft_cap=draft_cap
        )
        assert [token.depth for token in scored.tokens] == list(range(len(scored.tokens)))
        for token in scored.tokens[:-1]:
            assert (tree.tokens[token.row], tree.positions[token.row]) == (token.id, token.depth)
        predicted = [(scored.tokens[t.depth - 1].row, t.id) for t in scored.tokens if t.role == "target"]
        assert predicted == list(zip(target.rows.tolist(), target.labels.tolist(), strict=True))
        assert tuple(t.id for t in scored.tokens if t.role in ("target", "masked")) == getattr(
            pair, scored.request.target.value
        )
        context = () if scored.request.context is None else getattr(pair, scored.request.context.value)[:draft_cap]
        assert tuple(t.id for t in scored.tokens if t.role == "context") == tuple(context)
        assert tuple(t.id for t in scored.tokens if t.role == "prompt") == tuple(pair.prompt)


@pytest.mark.parametrize("draft_cap", [None, 1])
@pytest.mark.parametrize("separator", [NO_SEPARATOR, Separator((5,), (6, 7))])
def test_roles_are_those_of_the_tree(separator, draft_cap):
    pair = PreferencePair([1, 2], [10, 11, 9], [10, 9], record="seven", preference=0.8)
    found, tree = inspected(pair, separator, draft_cap)
    check(pair, tree, found, separator, draft_cap)
    conversation = PreferencePair([1, 2], [10, 11, 9, 12, 9], [10, 9], chosen_masked=((1, 2), (3, 4)))
    check(conversation, *reversed(inspected(conversation, separator, draft_cap)), separator, draft_cap)
    assert [scored.by for scored in found.sequences] == ["policy and reference", *["policy"] * (len(ALL) - 1)]
    assert (found.record, found.preference, found.rows) == ("seven", 0.8, len(tree))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_roles_agree_with_the_loss_mask_of_real_tokenizers(name):
    tokenizer = real_tokenizer(name)
    template = Template.of(tokenizer)
    turn = {"role": "user", "content": "Name a bird. 日本"}
    record = {"record": 1, "prompt": [turn], "preference": 1.0}
    replies = {"chosen": "The owl.\n\nIt flies.", "rejected": "The sparrow."}
    (pair,) = tokenize(
        [record | {role: [{"role": "assistant", "content": text}] for role, text in replies.items()}],
        tokenizer,
        template,
    )
    separator = Separator(before_target=template.header) if template.header else Separator((5,), (6, 7))
    found, tree = inspected(pair, separator)
    check(pair, tree, found, separator)
    shown = as_text(found, lambda token: text_of(tokenizer, token))
    for text in ("Name a bird.", "The owl.", "It flies.", "The sparrow."):
        assert text.replace(" ", "") in shown.replace(" ", "")


def test_text_and_page_of_a_run():
    config = load([TINY])
    found, decode = seen(config, 2)
    assert len(found) == 2
    text = as_text(found[0], decode)
    heading, *lines = text.splitlines()
    assert re.fullmatch(r"record \S+: \d+ tokens in one tree, \d+ in separate sequences", heading)
    assert sum(line.startswith("log pi(") for line in lines) == len(found[0].sequences)
    assert "\033[" not in text
    assert "\033[1;32m" in as_text(found[0], decode, color=True)
    (scored, *_) = found[0].sequences
    rows = [line for line in as_text(found[0], decode, each=True).splitlines() if re.match(r" +\d+ ", line)]
    assert len(rows) == sum(len(each.tokens) for each in found[0].sequences)
    assert rows[0].split()[:4] == ["0", "0", str(scored.tokens[0].id), "prompt"]
    page = as_page(found, decode)
    assert page.count("<li class=") == 5 + sum(len(each.tokens) for one in found for each in one.sequences)
    named, _ = seen(config, 1, [str(found[1].record)])
    assert named == found[1:]


def test_text_of_data_is_escaped_and_obeyed_by_nothing():
    pair = PreferencePair([1], [2, 3], [3])
    found, _ = inspected(pair, requests=(LogpRequest(Role.CHOSEN),))
    texts = {1: "<script>alert(1)</script>", 2: "\033[31m\n", 3: "&"}
    assert "\033" not in as_text(found, texts.__getitem__)
    page = as_page([found], texts.__getitem__)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\033" not in page


def test_the_command(tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    assert main(["inspect", "--config", str(TINY), "--first", "3", "--html", str(page)]) == 0
    assert page.read_text().count("<h2>") == 3
    assert str(page) in capsys.readouterr().out
    assert main(["inspect", "--config", str(TINY), "--record", "nobody"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: record nobody is not among the")
    assert main(["inspect", "--config", str(TINY), "--html", "/proc/none/page.html"]) == 2
    assert "name another file" in capsys.readouterr().err
