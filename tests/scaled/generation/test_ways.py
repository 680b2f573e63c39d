"""Plain, revised and chosen answers, asked through one queue; layouts and margins are training's own."""

from collections import deque
from itertools import permutations

import pytest
import torch
from tiny_models import tiny_model

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role
from inspo.hf import enable_tree_rows
from inspo.hf.rows import request_logps
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import build_row
from inspo.sequences import NO_SEPARATOR, Separator, scored_sequence
from scaled.generation.interface import Completion, Request, Settings
from scaled.generation.margins import Margins
from scaled.generation.ways import Asked, BestOf, Revise, as_response, drive, plain

END = 9
TURN = Separator(before_target=(7, 8))


def asked(key: str = "0/q", prompt: tuple[int, ...] = (1, 2)) -> Asked:
    return Asked(key, (), prompt, Settings())


class Echo:
    """Writes the prompt's sum and the end, and remembers what it was asked."""

    def __init__(self):
        self.asked: list[Request] = []

    def generate(self, waiting: deque[Request]):
        while waiting:
            request = waiting.popleft()
            self.asked.append(request)
            yield request, Completion((sum(request.prompt), END), ended=True)


def test_a_plain_answer_is_one_request():
    backend = Echo()
    ((name, answered),) = drive(backend, {"q": plain(asked())})
    assert (name, answered.completion) == ("q", Completion((3, END), ended=True))
    assert backend.asked == [Request("0/q/answer", (1, 2), Settings())]


@pytest.mark.parametrize("separator", [NO_SEPARATOR, TURN, Separator((5,), (5,))])
@pytest.mark.parametrize("cap", [None, 1])
def test_a_revision_is_asked_as_training_lays_out_the_second_response(separator, cap):
    backend = Echo()
    ((_, answered),) = drive(backend, {"q": Revise(END, separator, cap)(asked())})
    draft, revision = backend.asked
    assert draft.prompt == (1, 2)
    assert answered.draft == Completion((3, END), ended=True)
    pair = PreferencePair((1, 2), (4, END), (3, END))
    request = LogpRequest(Role.CHOSEN, Role.REJECTED)
    assert (*revision.prompt, 4, END) == scored_sequence(pair, request, separator=separator, draft_cap=cap)
    assert (draft.key, revision.key) == ("0/q/draft", "0/q/revision")


def test_a_draft_that_leaves_no_room_is_the_answer_and_says_so():
    ((_, answered),) = drive(Echo(), {"q": Revise(END, TURN, None, context=6)(asked())})
    assert answered.not_revised
    assert answered.completion == answered.draft


def test_an_end_that_is_not_the_templates_becomes_the_end_of_a_turn():
    assert as_response(Completion((4, 99), ended=True), END) == (4, END)
    assert as_response(Completion((4, 99), ended=False), END) == (4, 99)


def test_the_best_candidate_is_that_of_the_highest_score_and_of_equals_the_first():
    scores = {"0/a": [0.0, 2.0, 1.0], "0/b": [1.0, 1.0, 0.0]}
    way = BestOf(3, lambda about, _found: scores[about.key])
    found = dict(drive(Echo(), {name: way(asked(f"0/{name}", (ord(name),))) for name in "ab"}))
    assert [found[name].scores for name in "ab"] == [(0.0, 2.0, 1.0), (1.0, 1.0, 0.0)]
    assert len(found["a"].candidates) == 3


def test_the_first_choice_is_made_at_once_and_the_others_together_when_nothing_is_left_to_write():
    backend, made = Echo(), []

    def choose(choices):
        made.append((len(choices), len(backend.asked)))
        return [[0.0, 1.0] for _ in choices]

    talks = {name: BestOf(2, None)(asked(f"0/{name}", (ord(name),))) for name in "abc"}
    found = dict(drive(backend, talks, choose=choose))
    assert made == [(1, 2), (2, 6)]
    assert [answered.scores for answered in found.values()] == [(0.0, 1.0)] * 3
    with pytest.raises(ValueError, match="nothing to choose by"):
        list(drive(backend, {"a": BestOf(2, None)(asked("0/a"))}))


def test_what_is_known_is_not_asked_for_again():
    first = Echo()
    kept = {}
    whole = dict(drive(first, {"q": Revise(END, TURN)(asked())}, note=lambda r, c: kept.update({r.key: c})))
    del kept["0/q/revision"]
    again = Echo()
    assert dict(drive(again, {"q": Revise(END, TURN)(asked())}, known=lambda r: kept.get(r.key))) == whole
    assert [request.key for request in again.asked] == ["0/q/revision"]


PROMPT = (1, 5, 6, 40)
CANDIDATES = ((3, 4, END), (3, 4, 11, 12, END), (20, END), (21, 22, 23, 24))


@pytest.fixture(scope="module")
def models():
    pair = tiny_model("llama", seed=1).double(), tiny_model("llama", seed=2).double()
    for model in pair:
        enable_tree_rows(model)
    return pair


@pytest.mark.parametrize("method", ["dpo", "simpo", "r-dpo", "orpo"])
@pytest.mark.parametrize("conditioning", list(Conditioning))
@pytest.mark.parametrize("row_tokens", [1, 10**6])
def test_every_margin_is_the_preference_losses_own_of_that_pair_alone(models, method, conditioning, row_tokens):
    model, reference = models
    loss = PreferenceLoss(method, conditioning, {}, ReferenceContext.CONDITIONED)
    margins = Margins(model, loss, END, TURN, 3, reference, row_tokens=row_tokens)
    found = margins.matrix(PROMPT, CANDIDATES)
    with torch.no_grad():
        for i, j in permutations(range(4), 2):
            pair = PreferencePair(PROMPT, CANDIDATES[i], CANDIDATES[j])
            logps = [
                request_logps(which, build_row([pair], requests, separator=TURN, draft_cap=3)) if requests else None
                for which, requests in ((model, loss.requests()), (reference, loss.reference_requests()))
            ]
            lengths = {
                "chosen_length": torch.tensor([float(len(pair.chosen))]),
                "rejected_length": torch.tensor([float(len(pair.rejected))]),
            }
            chosen, rejected = loss.scores(loss.terms(*logps, **lengths))
            assert found[i, j].item() == pytest.approx((chosen - rejected).item(), abs=1e-9)


def test_scores_are_mean_margins_and_an_equal_candidate_counts_zero(models):
    margins = Margins(models[0], PreferenceLoss("simpo", Conditioning.SYMMETRIC), END)
    three = [CANDIDATES[0], CANDIDATES[1], CANDIDATES[2]]
    table = margins.matrix(PROMPT, three)
    assert torch.allclose(table, -table.T)
    found = [Completion(tokens, ended=tokens[-1] == END) for tokens in (*three, CANDIDATES[0])]
    scores = margins(asked("0/q", PROMPT), found)
    assert scores[0] == scores[3] == pytest.approx(((table[0, 1] + table[0, 2]) / 3).item())
    assert scores[1] == pytest.approx(((2 * table[1, 0] + table[1, 2]) / 3).item())
    assert margins(asked("0/q", PROMPT), [found[0]] * 2) == [0.0, 0.0]
    assert margins(asked("0/q", PROMPT), [found[0]]) == [0.0]


def test_a_margin_that_needs_a_reference_is_refused_without_one(models):
    with pytest.raises(ValueError, match="the margin of dpo needs the reference model"):
        Margins(models[0], PreferenceLoss("dpo", Conditioning.SYMMETRIC), END)
