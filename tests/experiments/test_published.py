"""What is published of the experiments is what the committed results say."""

import re
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest
from scipy.stats import ttest_1samp

import experiments
from experiments import report
from experiments.analysis import at_kl, effect, holm
from experiments.hypotheses import wanted
from experiments.language.hypotheses import AGAIN, HYPOTHESES
from experiments.language.reference import LEARNED
from experiments.selfplay.cells import LABELERS
from experiments.worlds import WORLDS, world

RESULTS = Path(experiments.__file__).parent / "results"
README = (RESULTS.parents[1] / "README.md").read_text()
DOCS = " ".join((RESULTS.parents[1] / "docs" / "experiments.md").read_text().split())
SECTION = README.partition("## Should you use this?")[2].partition("\n## ")[0]
NAME = re.compile(r"`(?:(\w+)/)?([a-l]-[\w-]+)` \|$")
"""The question that a row answers; of the language world where none is named."""
ROWS = [line for line in SECTION.splitlines() if NAME.search(line)]
SAID = {
    "yes": "| **yes** |",
    "yes, from these references": "| **yes**, from these references |",
    "no: the other way round": "| **no, worse** |",
    "no: the other way round, from these references": "| **no, worse**, from these references |",
    "not decided": "| **not decided** |",
}


@cache
def known(name):
    """A world's results, and their answers by name."""
    results, refused = world(name).ledger(RESULTS).all()
    assert refused == []
    return results, {answer.hypothesis.name: answer for answer in report.answers(world(name).hypotheses, results)}


@pytest.mark.parametrize("name", [name for name in WORLDS if (RESULTS / name).is_dir()])
def test_the_page_is_that_of_the_results(name):
    results, answers = known(name)
    (picture,) = re.findall(
        r"^!\[.*\]\((\w+)\.png\)$", page := (RESULTS / f"{name.upper()}.md").read_text(), re.MULTILINE
    )
    assert page == report.markdown(world(name), list(answers.values()), results, [], picture)
    assert (RESULTS / f"{picture}.png").is_file()


def test_ins_simpo_is_worth_less_than_any_simpo_from_its_reference():
    """As docs/experiments.md says, and how far it goes: none that went further than all plain ones can be compared."""
    results = [result for result in known("language")[0] if result.cell.method == "simpo"]
    ends: dict[tuple, list] = {}
    for result in results:
        cell = result.cell
        ends.setdefault((cell.pretraining_seed, cell.seed, cell.conditioning), []).append(result.points[-1])
    assert len(ends) == 6
    for (pretraining, seed, conditioning), treated in ends.items():
        if conditioning == "symmetric":
            plain = ends[pretraining, seed, "none"]
            assert max(end["value"] for end in treated) < min(end["value"] for end in plain)
            far = [end["kl"] > max(other["kl"] for other in plain) for end in treated]
            assert far == [pretraining != 2] * len(treated)
    far = [
        end["kl"]
        for (pretraining, _, how), each in ends.items()
        if how == "symmetric" and pretraining != 2
        for end in each
    ]
    assert [round(min(far)), round(max(far))] == [21, 88]


def asked_afterwards():
    """What docs/experiments.md says of INS-DPO and of all strengths of DPO, as it says it."""
    results, _ = known("language")
    points = {result.cell.key(): result.points[-1] for result in results}

    def over(difference):
        ends = {seed: [points[cell.key()] for cell in cells] for seed, cells in HYPOTHESES["l-a-dpo"].cells().items()}
        assert len(ends) == 6
        found = [(seed[0], difference(ins, plain)) for seed, (ins, *plain) in ends.items()]
        return effect([each for each in found if each[1] is not None])

    def at_its_kl(ins, plain):
        there = at_kl(sorted(plain, key=lambda end: end["kl"]), ins["kl"], "value", 0.5)
        return None if there is None else ins["revised_other"] - there

    questions = {
        "nats a pair as a judge": lambda ins, plain: (
            min(end["log_loss_rescaled"] for end in plain) - ins["log_loss_rescaled"]
        ),
        "win rate choosing": lambda ins, plain: ins["counter_of_8"] - max(end["counter_of_8"] for end in plain),
        "rewriting one": lambda ins, plain: ins["revised"] - max(end["value"] for end in plain),
        "less often than DPO's answers at the KL of its own": at_its_kl,
        "draw with them": lambda ins, _: ins["revised_able"],
        "picks the likelier more often than DPO's": lambda ins, plain: ins["able_agrees"] - plain[0]["able_agrees"],
    }
    return {words: over(difference) for words, difference in questions.items()}


def test_what_was_asked_afterwards_is_what_the_results_say():
    said = DOCS
    said = said.partition("**Asked afterwards**")[2].partition(" ## ")[0]
    found = asked_afterwards()
    for words, answer in found.items():
        sign = "" if words == "draw with them" else "+"
        assert f"{answer.mean:{sign}.3f} ± {answer.se:.3f}" in said
        assert words in said
        assert answer.seeds == (5 if "KL" in words else 6)
    assert found["draw with them"].low < 0.5 < found["draw with them"].high


def test_one_of_the_first_three_references_has_not_learned_its_task_and_all_of_the_later_have():
    """As docs/experiments.md says, by the answers of plain DPO; and by the later references' own."""
    said = DOCS
    found: dict[int, list] = {}
    for cells in HYPOTHESES["e-symmetric-cycle3"].cells().values():
        (plain,) = (result for result in known("language")[0] if result.cell == cells[1])
        found.setdefault(plain.cell.pretraining_seed, []).append(plain.points[-1]["quality"])
    low, high = (f"{min(each):.2f} to {max(each):.2f}".replace("0.", ".") for each in (found[2], found[0] + found[1]))
    assert f"have a quality of {low} from there, {high} from the others" in said
    later = {cell.key() for cell in wanted(AGAIN)}
    results = [result for result in known("language")[0] if result.cell.key() in later]
    assert len({result.about["reference"]["weights"] for result in results}) == 6
    assert min(result.about["reference"]["quality"] for result in results) >= LEARNED
    passed = {cell.pretraining_seed for cell in wanted(AGAIN)}
    assert "three others have not" in said
    assert len(set(range(3, max(passed))) - passed) == 3


def test_what_was_asked_again_has_the_sign_of_the_first_answer_and_three_are_decided():
    """As README.md and docs/experiments.md say."""
    answers = known("language")[1]
    again = {name: answer for name, answer in answers.items() if name.startswith("l-")}
    assert len(again) == len(AGAIN) == 10
    for name, answer in again.items():
        assert answer.effect.mean * answers[name.removeprefix("l-")].effect.mean > 0
        assert not answer.verdict().endswith("from these references")
    decided = {name: answer.effect.mean > 0 for name, answer in again.items() if answer.decided()}
    pairwise = [answers[f"{again}e-symmetric-pairwise"].verdict() for again in ("", "l-")]
    assert pairwise == ["no: the other way round", "not decided"]
    assert decided == {"l-e-symmetric-cycle3": True, "l-f-counter": True, "l-b-one_sided": False}


def test_from_one_of_six_references_ins_dpo_fell_apart():
    """As docs/experiments.md says; and that it is not counted where that flatters it."""
    results, answers = known("language")
    points = {result.cell.key(): result.points[-1] for result in results}
    ends = {r: [points[cell.key()] for cell in each] for (r, _), each in HYPOTHESES["l-a-dpo"].cells().items()}
    said = DOCS
    said = said.partition("**From one of the six, 11,")[2].partition("**Asked afterwards**")[0]
    ins, *plain = ends.pop(11)
    assert f"{ins['malformed']:.2f} of the answers".lstrip("0") in said
    value, least = (f"{number:.2f}".lstrip("0") for number in (ins["value"], min(end["value"] for end in plain)))
    assert f"it wins {value} of them, DPO at any strength {least} or more, and it is {ins['kl']:.0f} nats away" in said
    assert max(end["kl"] for end in plain) < ins["kl"]
    assert max(end["malformed"] for end in (*plain, *(end for each in ends.values() for end in each))) < 0.05
    apart = [r.cell for r in results if r.cell.method == "dpo" and r.points[-1]["malformed"] > 0.4]
    apart = [(cell.conditioning, cell.pretraining_seed, cell.hyperparameters["beta"]) for cell in apart]
    assert sorted(each for each in apart if each[0] != "one_sided") == [
        ("none", 2, 0.02), ("none", 2, 0.05), ("none", 2, 0.05), ("symmetric", 11, 0.5)
    ]  # fmt: skip
    assert answers["l-a-dpo"].left_out == answers["l-b-one_sided"].left_out == [(11, 13)]
    drafts, judged = (dict(answers[name].effect.groups) for name in ("l-g-draft", "l-e-symmetric-cycle3"))
    assert f"({drafts.pop(11):+.3f})".replace("0.", ".") in said
    assert f"better by {min(drafts.values()):.3f} to {max(drafts.values()):.3f}".replace("0.", ".") in said
    assert f"({judged[11]:+.3f})".replace("0.", ".") in said


def test_what_a_reference_has_seen_decides_who_can_rewrite():
    """As docs/experiments.md says, of the symmetric and the plain policy at one beta."""
    points = {result.cell.key(): result.points[-1] for result in known("language")[0]}
    said = DOCS
    said = said.partition("By what a reference has seen")[2].partition(" ## ")[0]
    for kind in "AC":
        cells = HYPOTHESES[f"d-reference-{kind}"].cells()
        ends = {seed: [points[cell.key()] for cell in each[:2]] for seed, each in cells.items()}
        judged = effect(
            [(r, plain["log_loss_rescaled"] - ins["log_loss_rescaled"]) for (r, _), (ins, plain) in ends.items()]
        )
        gained = effect([(r, ins["gained"]) for (r, _), (ins, _) in ends.items()])
        assert f"{judged.mean:+.3f} ± {judged.se:.3f}" in said
        assert f"by {gained.mean:+.3f} ± {gained.se:.3f} from {kind}" in said
        assert all(ins["counter_of_8"] > plain["counter_of_8"] + 0.2 for ins, plain in ends.values())
        assert sum(value < 0 for value in gained.groups.values()) == (2 if kind == "A" else 0)


def test_why_policies_that_label_for_themselves_end_below_where_they_began():
    """As docs/experiments.md says, of the last of four rounds; means by arm and cycle, but for pairs."""
    arms: dict[tuple, list] = {}
    for result in known("selfplay")[0]:
        cell = result.cell
        arms.setdefault((cell.labeler, cell.update, cell.conditioning, cell.cycle), []).append(result.points)

    def span(labeler, name, form):
        found = [fmean([path[-1][name] for path in arm]) for key, arm in arms.items() if key[0] == labeler]
        return f"{min(found):{form}} to {max(found):{form}}".replace("0.", ".")

    said = DOCS
    assert f"agrees with the judge on {span('margin', 'agrees', '.2f')} of the pairs" in said
    assert f"{span('margin', 'malformed', '.2f')} of what they deploy does not end" in said
    pairs = [[path[-1]["pairs"] for key, arm in arms.items() if key[0] == who for path in arm] for who in LABELERS]
    judge, margin = (f"{min(each):.0f} to {max(each):.0f}" for each in pairs)
    assert f"in the last round {margin} pairs of 1000 are left to them, of the judge's policies {judge}," in said
    for (labeler, *_), arm in arms.items():
        last, first = (fmean(path[place]["value"] for path in arm) for place in (-1, 0))
        assert labeler == "judge" or last < 0.5 < first


@pytest.mark.parametrize("name", WORLDS)
def test_no_difference_is_zero_by_construction(name):
    effects = [answer.effect for answer in known(name)[1].values() if answer.effect is not None]
    assert min(effect.se for effect in effects) > 1e-6


@pytest.mark.parametrize("name", WORLDS)
def test_three_references_are_too_few_to_decide_anything(name):
    """As docs/experiments.md says: Student's t over their means, corrected over all questions of a world."""
    effects = {
        question: answer.effect
        for question, answer in known(name)[1].items()
        if answer.effect is not None and not question.startswith("l-")
    }
    assert {len(each.groups) for each in effects.values()} <= {1, 2, 3}
    over = holm({question: ttest_1samp(list(each.groups.values()), 0).pvalue for question, each in effects.items()})
    assert min(over.values()) > report.LEVEL


def test_the_readme_has_rows():
    assert len(ROWS) >= 5
    assert ("", "l-a-dpo") in [NAME.findall(row)[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_readme_says_what_its_result_says(row):
    ((where, name),) = NAME.findall(row)
    answer = known(where or "language")[1][name]
    assert SAID[answer.verdict()] in row
    effect = answer.effect
    assert f"{effect.mean:+.3f} ± {effect.se:.3f}" in row
    assert f"| {effect.seeds} " in row
