"""``python -m paper_figures``: the paper's numbers, what they contradict, ours beside them, and the files."""

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from functools import wraps
from pathlib import Path

import numpy as np
import pytest

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from paper_figures import commands, figure_1, figure_2, overhead, scores, table_1, table_2, table_3, table_7
from paper_figures.__main__ import ITEMS, main
from paper_figures.measured import load
from paper_figures.names import METRICS
from paper_figures.printed import parse, read
from scaled.reproduce.recipes import BASES, RECIPES

ROOT = Path(__file__).resolve().parents[2]
TABLES = [name for name in ITEMS if name.startswith("table")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everything, from an empty folder of results."""
    out = tmp_path_factory.mktemp("paper")
    assert main(["--out", str(out), "--results", str(out / "nothing")]) == 0
    return out


def result(folder, model="llama-3-8b", run="ins-dpo", kind="eval", **changes):
    """Write one result file; `changes` replace its facts, or those of its only metric."""
    metric = {"metric": "alpaca_eval_lc", "value": 41.26, "se": 1.4, "n": 805, "judge": "gpt-4-1106-preview"}
    metric |= {name: value for name, value in changes.items() if name in {*metric, "fitted_together"}}
    facts = {"model": model, "run": run, "seed": 0, "config_hash": "5f0c", "metrics": [metric]}
    facts |= {name: value for name, value in changes.items() if name in facts}
    path = folder / kind / model / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))
    return path


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


# The paper's numbers


def test_every_cell_is_the_papers(shared_data):
    """Each table's values and arrows, row by row, in the order in which the paper's text has them."""
    text = (shared_data.parent / "paper" / "inspo_paper.md").read_text()
    printed = [
        re.sub(r"<[^>]+>", " ", html.unescape(table)).split() for table in re.findall(r"<table>.*?</table>", text)
    ]
    words = dict(zip((1, 2, 3, 4, 5, 6, 7), printed, strict=True))
    for number in (2, 3, 4, 7):
        theirs = [word for word in words[number] if re.fullmatch(r"[↑↓-]?\d+\.\d+×?", word)]
        rows = read(number).rows
        if number == 2:  # there the two models stand side by side
            half = len(rows) // 2
            rows = [row for pair in zip(rows[:half], rows[half:], strict=True) for row in pair]
        assert [word for row in rows for cell in row["cells"].values() for word in cell.split()] == theirs
    five = [cell for pair in zip(*(row["cells"].values() for row in read(5).rows), strict=True) for cell in pair]
    assert five == [word for word in words[5] if re.fullmatch(r"\+\d+%|\d+|No", word)]


def test_single_cells_read_by_eye():
    """Copied by hand from the paper's pages."""
    expected = {
        (2, "mistral-7b", "ins-ipo", "alpaca_eval_lc"): ("28.8", "↑8.5"),
        (2, "mistral-7b", "rrhf", "alpaca_eval_lc"): ("25.3", ""),
        (2, "mistral-7b", "ins-simpo", "alpaca_eval_wr"): ("34.5", "↓0.1"),
        (2, "llama-3-8b", "ins-orpo", "alpaca_eval_wr"): ("40.3", "↑12.9"),
        (2, "llama-3-8b", "ins-orpo", "mt_bench_gpt_4"): ("8.0", "-0.0"),
        (3, "llama-3-8b", "ins-dpo-2048-50", "arena_hard_sc"): ("33.1", ""),
        (3, "llama-3-8b", "ins-dpo", "alpaca_eval_lc"): ("40.5", ""),
        (4, "mistral-7b", "averaged-dpo", "arena_hard_wr"): ("25.7", "↑9.4"),
        (5, "unstated", "ins-dpo", "training_overhead"): ("+21%", ""),
        (7, "gemma-2-9b", "ins-dpo", "memory"): ("1.20×", ""),
    }
    for (number, *key), (text, arrow) in expected.items():
        cell = read(number).cells[tuple(key)]
        assert (cell.text, cell.arrow) == (text, arrow)


def test_cells_are_read_exactly():
    row = {"model": "m", "run": "r", "base": "b"}
    assert parse(row, "x", "29.9 ↑3.1").gain == Decimal("3.1")
    assert parse(row, "x", "24.7 ↓0.2").gain == Decimal("-0.2")
    assert parse(row, "x", "44.5 -0.0").gain == 0
    assert parse(row, "x", "1.18×").value == Decimal("1.18")
    assert parse(row, "x", "No").value.is_nan()


# What the paper's numbers say about each other


def test_all_printed_arrows_are_differences_of_printed_cells():
    """10 metrics times 5 methods in Table 2, 3 metrics times 6 strategies in Table 4."""
    assert scores.arrow_note(read(2)) == "50 of 50 arrows equal the difference of the printed cells."
    assert scores.arrow_note(read(4)) == "18 of 18 arrows equal the difference of the printed cells."


def test_a_wrong_arrow_would_be_noticed():
    table = read(4)
    key = ("mistral-7b", "ins-dpo", "arena_hard_wr")
    table.cells[key] = parse({"model": key[0], "run": key[1], "base": "dpo"}, key[2], "23.9 ↑7.5")
    assert scores.arrow_note(table).startswith("17 of 18")


def test_what_the_text_quotes_rightly():
    """Sections 5.2, 5.3 and D.5: the sentences about the tables that their cells bear out."""
    three, four, seven = read(3), read(4), read(7)
    assert [str(four.cells[key].gain) for key in QUOTED] == list(QUOTED.values())
    best = {metric: three.best("llama-3-8b", metric) for metric in METRICS if metric[:2] in ("al", "ar")}
    assert {cell.run for cell in best.values()} == {"ins-dpo"}  # MaxLen 4096, draft cap 40%
    assert best["alpaca_eval_wr"].text == "39.9"
    for metric, ratios in {"training_time": ("1.18", "1.22", "1.25"), "memory": ("1.15", "1.18", "1.20")}.items():
        printed = [cell.value for key, cell in seven.cells.items() if key[1:] == ("ins-dpo", metric)]
        assert printed == [Decimal(ratio) for ratio in ratios]  # 18-25 % and 15-20 %


QUOTED = {
    ("mistral-7b", "ins-dpo", "arena_hard_wr"): "7.6",
    ("llama-3-8b", "ins-dpo", "arena_hard_wr"): "2.7",
    ("llama-3-8b", "one-sided-dpo", "alpaca_eval_lc"): "3.1",
    ("mistral-7b", "averaged-dpo", "arena_hard_wr"): "9.4",
    ("llama-3-8b", "averaged-dpo", "alpaca_eval_lc"): "3.8",
    ("llama-3-8b", "averaged-dpo", "alpaca_eval_wr"): "3.6",
}

# A piece of each sentence expected, worked out by hand from the tables.
CONTRADICTIONS = {
    "table_1": ["announce 6 methods; the table has 5"],
    "table_2": [
        "0.6 to 8.5; outside: 4 of 10, +0.1 (INS-ORPO on Mistral-7B), -0.1 (INS-R-DPO on Llama-3-8B), 0.0 (INS-DPO",
        "0.7 to 7.6; outside: 1 of 10, -0.3 (INS-ORPO on Llama-3-8B)",
        "WR at 3 to 6 for INS-DPO and INS-SimPO; outside: 1 of 4, -0.1 (INS-SimPO on Mistral-7B)",  # +6.1 rounds to 6
        "WR at 2 to 3 for INS-DPO and INS-SimPO; outside: 1 of 4, +7.6 (INS-DPO on Mistral-7B)",  # +3.4 rounds to 3
        "0.1 to 0.2; outside: 4 of 20, -0.1 (INS-ORPO on Mistral-7B, GPT-4o), 0.0",
        "ahead in 2 of 10 columns: Mistral-7B MT-Bench, GPT-4 (INS-IPO 7.9, 7.7), Llama-3-8B MT-Bench, GPT-4 (INS-IPO",
        "announces Arena-Hard SC",
        "differs from Table 3: AlpacaEval 2 LC 40.3 here and 40.5 there, AlpacaEval 2 WR 41.1 here and 39.9 there",
    ],
    "table_3": [
        "best AlpacaEval 2 LC as 40.3; the table's is 40.5",
        "not in 3 of 12 cases: AlpacaEval 2 LC at 1024 (best at 50%), Arena-Hard WR at 1024 (best at 50%), Arena-Hard",
        "by 2.6 in Arena-Hard WR; the rows differ by 3.3 (30%), 3.1 (40%), 2.5 (50%), 3.7 (no cap)",
        "differs from Table 2 and Table 4: AlpacaEval 2 LC 40.5 here and 40.3 there",
    ],
    "table_4": [
        "raw quality; another is ahead in 4 of 4 columns: Mistral-7B AlpacaEval 2 WR (Averaged 29.7, 29.4)",
        "differs from Table 3",
    ],
    "table_5": ["this table has 2048 for DPO", "(+18%, +22%, +25%), nor their mean, +21.7%, rounded"],
    "table_7": [],
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions(name, made):
    found = re.findall(r"(?m)^\d+\. (.*)$", (made / f"{name}.md").read_text())
    assert len(found) == len(CONTRADICTIONS[name])
    for sentence, expected in zip(found, CONTRADICTIONS[name], strict=True):
        assert expected in sentence


def test_no_row_of_table_2_has_the_announced_metric():
    assert "arena_hard_sc" not in {metric for _, _, metric in read(2).cells}


def test_arrows_within_two_standard_errors():
    """Table 2, AlpacaEval: |arrows| sorted are 0, 0, .1, .1, .1, .2, .6, 1.8, 2.1 | 3.1, ...: 9 up to 2 x 1.3 = 2.6;
    3.1, 3.1, 3.2 more up to 2 sqrt(2) 1.3 = 3.68. Arena-Hard: .3, .7, 1.9 up to 2 x 2 / 1.96 = 2.04;
    2.1, 2.3, 2.3, 2.7 more up to sqrt(2) 2.04 = 2.89."""
    cells = [cell for cell in read(2).arrows if cell.metric.startswith("alpaca")]
    for error in (1.14, 1.3, 1.54):
        assert (scores.within(cells, 2 * error), scores.within(cells, 2 * 2**0.5 * error)) == (9, 12)
    note = scores.noise_note(read(2))
    assert "9 of 20 arrows within two standard errors of one score, 12 within two" in note
    assert "3 of 10 arrows within two standard errors of one score, 7 within two" in note
    assert "15 of 20 arrows are at most 0.1" in note


def test_raw_gains_without_length_controlled_ones():
    """Llama-3-8B: DPO 0.0 and +3.2, R-DPO -0.1 and +6.0, SimPO 0.0 and +6.1; on Mistral none."""
    note = table_2.length_note(read(2))
    assert re.findall(r"(\S+) on (\S+) \(LC (\S+), WR (\S+)\)", note) == [
        ("R-DPO", "Llama-3-8B", "-0.1", "+6.0"),
        ("DPO", "Llama-3-8B", "0.0", "+3.2"),
        ("SimPO", "Llama-3-8B", "0.0", "+6.1"),
    ]


def test_tokens_alone_explain_the_overhead_only_with_long_prompts():
    """x = 3, w = l = 1: plain rows 2x + w + l = 8, crossed ones 2x + 2w + 2l = 10, a ratio of 1.25."""
    assert table_7.prompt_length(10 / 8) == pytest.approx(3)


# Table 1 against the code


@pytest.mark.parametrize("method", table_1.LINES)
@pytest.mark.parametrize("conditioning", [Conditioning.NONE, Conditioning.SYMMETRIC])
def test_table_1_is_what_the_code_computes(method, conditioning):
    distance, agrees = table_1.difference(method, conditioning)
    assert agrees
    assert distance < 1e-9


def test_table_1_would_show_a_reversed_sign(monkeypatch):
    original = METHODS["dpo"]
    reversed_sign = replace(
        original, loss=wraps(original.loss)(lambda pairs, **options: original.loss(pairs.swapped(), **options))
    )
    monkeypatch.setitem(METHODS, "dpo", reversed_sign)
    assert not table_1.difference("dpo", Conditioning.SYMMETRIC)[1]
    assert table_1.make().ours == "8 of 10 agree"


def test_the_transcription_by_hand():
    """DPO: rho_w - rho_l = (-2 + 3) - (-4 + 4) = 1, so log(1 + e^-0.5). ORPO with p = 1/2 each: log 2 + lam log 2."""
    terms = table_1.Terms(*(np.array([value]) for value in (-2.0, -4.0, -3.0, -4.0, 1.0, 1.0)))
    assert table_1.LINES["dpo"].loss(terms, beta=0.5) == pytest.approx(np.log1p(np.exp(-0.5)))
    half = table_1.Terms(*(np.array([value]) for value in (3 * np.log(0.5), 5 * np.log(0.5), 0.0, 0.0, 3.0, 5.0)))
    assert table_1.LINES["orpo"].loss(half, lam=0.7) == pytest.approx(1.7 * np.log(2))


def test_formulas_name_the_context_on_the_policys_side_only():
    for method in table_1.LINES:
        assert r"\mathbf" not in table_1.latex(method, ins=False)
        formula = table_1.latex(method, ins=True)
        assert formula.count(r"x,\mathbf{y}_\mathbf{\ell}") == formula.count(r"_w\mid x,")
        assert r"\pi_{\mathrm{ref}}(y_w\mid x," not in formula


# Figures


def test_figure_1s_token_counts():
    """x 100, w 200, l 150. Plain: 2 (100 + 200). Crossed: 2 (100 + 350). Tree: 100 + 2 (200 + 150), less
    the last token of each of two leaves. Averaged as rows: 4 (100 + 350)."""
    assert figure_1.padded_tokens(Conditioning.NONE) == 600
    assert figure_1.padded_tokens(Conditioning.SYMMETRIC) == 900
    assert figure_1.tree_tokens(Conditioning.SYMMETRIC) == 798
    assert figure_1.tree_tokens(Conditioning.AVERAGED) == 798
    assert figure_1.padded_tokens(Conditioning.AVERAGED) == 1800


def test_figure_2_without_results_names_the_commands(tmp_path):
    (toy,) = figure_2.toy_rows(tmp_path / "results.json")
    assert toy.missing == ["not run here: make toy"]
    tiny = figure_2.tiny_row(tmp_path)
    assert "make train-tiny" in tiny.missing[0]
    assert "--set conditioning=none" in tiny.missing[1]


def toy_results(path):
    curve = {"mean": [0.5, 0.7], "se": [0.0, 0.1]}
    runs = [
        {"method": "dpo", "conditioning": kind, "steps": [0, 10], **dict.fromkeys(figure_2.TOY_KEYS, curve)}
        for kind in ("none", "symmetric")
    ]
    problem = {"problem": "cyclic", "source": "p = 3/4", "runs": runs}
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"config": {"psi": "identity"}, "plots": {"training_dynamics": {"problems": [problem]}}}
    path.write_text(json.dumps(facts))


def test_figure_2_reads_the_toy_and_a_run(tmp_path):
    toy_results(tmp_path / "toy" / "results.json")
    run = tmp_path / "train-tiny" / "metrics.jsonl"
    run.parent.mkdir()
    updates = [
        {
            "update": step,
            "kind": "update",
            "loss": 0.7 / step,
            "accuracy": 0.5,
            "margin": 0.1 * step,
            "deployed_margin": 0.25 * step + 0.5,
        }
        for step in (1, 2)
    ]
    validation = {"update": 2, "kind": "validation", "loss": 9.0}
    run.write_text("\n".join(map(json.dumps, [*updates, validation])) + '\n{"update": 3, "lo')  # killed while writing
    tiny = figure_2.tiny_row(tmp_path)
    assert [panel[0].values for panel in tiny.lines] == [[0.5, 0.5], [0.1, 0.2], [0.7, 0.35], [0.75, 1.0]]
    assert tiny.lines[0][0].ins
    unfinished, baseline = tiny.missing
    assert "unfinished, drawn to update 2" in unfinished
    assert "baseline not run here" in baseline
    run.with_name("run.json").write_text("{}")
    assert len(figure_2.tiny_row(tmp_path).missing) == 1
    (toy,) = figure_2.toy_rows(tmp_path / "toy" / "results.json")
    assert [line.ins for line in toy.lines[0]] == [False, True]
    assert figure_2.make(tmp_path).ours == "8 of 8 panels"


def test_figure_2_draws_every_method_of_the_toy_and_no_other_conditioning(tmp_path):
    """RRHF is legal in the toy; an averaged or one-sided run is neither INS nor baseline."""
    path = tmp_path / "toy" / "results.json"
    toy_results(path)
    facts = json.loads(path.read_text())
    (problem,) = facts["plots"]["training_dynamics"]["problems"]
    others = [run | {"conditioning": kind} for run in problem["runs"][:1] for kind in ("averaged", "one_sided")]
    problem["runs"] = [run | {"method": "rrhf"} for run in problem["runs"]] + others
    path.write_text(json.dumps(facts))
    (toy,) = figure_2.toy_rows(path)
    assert [line.ins for line in toy.lines[0]] == [False, True]
    (note,) = toy.missing
    assert "averaged and one-sided" in note
    assert len(figure_2.make(tmp_path).write(tmp_path)) == 3
    problem["runs"] = others
    path.write_text(json.dumps(facts))
    (toy,) = figure_2.toy_rows(path)
    assert toy.lines == [[], [], [], []]
    assert toy.missing[1] == "not run here: make toy"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"update": 1}\nnonsense\n{"update": 2}\n', "line 2"),
        ('{"update": 1}\n', "'kind' is missing; make it again with make train-tiny"),
        ("[1]\n{}\n", "list indices"),
        ('{"kind": "update", "update": 1, "loss": "much"}\n', r"0: accuracy: Field required"),
        ("", "holds no update"),
    ],
)
def test_a_bad_journal_is_named(tmp_path, text, complaint):
    path = tmp_path / "train-tiny" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        figure_2.tiny_row(tmp_path)
    assert str(path) in str(caught.value)


def test_a_toy_file_that_is_something_else_is_named(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match=r"results\.json: config: Field required; make it again with make toy"):
        figure_2.toy_rows(tmp_path / "results.json")


def reached(facts, place):
    """The last container on the way to a place in nested facts, and the key there."""
    *way, last = place
    for key in way:
        facts = facts[key]
    return facts, last


RUN = ("plots", "training_dynamics", "problems", 0, "runs", 0)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("plots",), []),
        (("plots", "training_dynamics", "problems"), 5),
        (("plots", "training_dynamics", "problems"), []),
        (("plots", "training_dynamics", "problems", 0, "source"), None),
        (RUN, "run"),
        ((*RUN, "method"), "ppo"),
        ((*RUN, "conditioning"), "both"),
        ((*RUN, "margin"), {"mean": [0.5, "high"], "se": [0, 0]}),
        ((*RUN, "margin"), {"mean": [0.5, float("nan")], "se": [0, 0]}),
        ((*RUN, "accuracy", "mean"), [0.5]),
        ((*RUN, "steps"), []),
        (("config", "psi"), "square"),
    ],
)
def test_misshapen_results_of_the_toy_are_one_line_and_exit_code_2(tmp_path, capsys, place, wrong):
    path = tmp_path / "toy" / "results.json"
    toy_results(path)
    facts = json.loads(path.read_text())
    inside, key = reached(facts, place)
    inside[key] = wrong
    path.write_text(json.dumps(facts))
    assert main(["--out", str(tmp_path / "out"), "--results", str(tmp_path), "--only", "figure_2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert line.endswith("make it again with make toy")
    assert not (tmp_path / "out").exists()


def test_figure_2_draws_names_with_dollar_signs_as_they_are(tmp_path):
    path = tmp_path / "toy" / "results.json"
    toy_results(path)
    path.write_text(path.read_text().replace("cyclic", "Ca$$h").replace("p = 3/4", "from $20 to {$_x"))
    assert len(figure_2.make(tmp_path).write(tmp_path)) == 3


# Ours


def test_a_result_fills_its_cell_in_every_table_and_no_other(tmp_path):
    result(tmp_path)
    out = tmp_path / "out"
    assert main(["--out", str(out), "--results", str(tmp_path), "--only", "table_2", "table_3", "table_4"]) == 0
    two, three, four = ((out / f"table_{number}.md").read_text() for number in (2, 3, 4))
    for text, row in (
        (two, "| INS-DPO | 40.3"),
        (three, "| 4096 | 40% | **40.5**"),
        (four, "| Llama-3-8B | symmetric |"),
    ):
        (paper,) = lines(text, row)
        assert paper.endswith("| below |")
        below = text.splitlines()[text.splitlines().index(paper) + 1]
        assert below.split("*ours*")[1].startswith(" | 41.3 ±1.4 | *not run* | *not run* | ")
        assert text.count("41.3 ±1.4") == 1
    (mistral,) = lines(two, "| INS-DPO | 29.9")
    assert mistral.endswith("| not run here: `--only mistral-7b/ins-dpo` |")


def test_a_number_without_an_error_has_none(tmp_path):
    result(tmp_path, value=8.0, se=None)
    (path,) = table_2.make(load(tmp_path)).write(tmp_path)
    assert "| *ours* | 8.0 | *not run* |" in path.read_text()


def test_another_judge_is_named(tmp_path):
    result(tmp_path, judge="some-judge-2")
    (path,) = table_2.make(load(tmp_path)).write(tmp_path)
    text = path.read_text()
    assert "Ours have other judges: AlpacaEval 2 LC by some-judge-2 (the paper: gpt-4-1106-preview)." in text


def test_a_cell_of_fewer_questions_is_marked_and_says_how_many(tmp_path):
    result(tmp_path, n=804)
    result(tmp_path, run="dpo")
    (path,) = table_2.make(load(tmp_path)).write(tmp_path)
    text = path.read_text()
    assert text.count("| 41.3 ±1.4† |") == text.count("| 41.3 ±1.4 |") == 1
    assert "† On fewer questions than the benchmark has: llama-3-8b/ins-dpo AlpacaEval 2 LC 804 of 805." in text


def test_a_style_controlled_cell_says_with_which_models_it_was_fitted(tmp_path):
    style = {"metric": "arena_hard_sc", "n": 500}
    result(tmp_path, fitted_together=["mine", "theirs"], **style)
    result(tmp_path, run="ins-dpo-4096-30", fitted_together=["mine", "theirs"], **style)
    result(tmp_path, run="ins-dpo-1024-30", fitted_together=["another", "one more"], **style)
    (path,) = table_3.make(load(tmp_path)).write(tmp_path)
    text = path.read_text()
    (note,) = lines(text, "Style control depends on the models fitted together: ")
    mine = "mine, theirs (llama-3-8b/ins-dpo-4096-30 Arena-Hard SC, llama-3-8b/ins-dpo Arena-Hard SC)"
    assert mine in note
    assert "another, one more (llama-3-8b/ins-dpo-1024-30 Arena-Hard SC)" in note
    assert "†" not in text


def test_overheads_are_ratios_of_two_files(tmp_path):
    """2.4 / 2.0 = 1.20; standard error hypot(.1 / 2, 1.2 x .1 / 2) = hypot(.05, .06) = .078."""
    for run, value in (("dpo", 2.0), ("ins-dpo", 2.4)):
        result(tmp_path, run=run, kind="cost", metric="training_time", value=value, se=0.1, judge=None)
    quotient, error = overhead.ratio(load(tmp_path), "llama-3-8b", "training_time")
    assert (quotient, error) == (pytest.approx(1.2), pytest.approx(0.0781, abs=1e-4))
    out = tmp_path / "out"
    assert main(["--out", str(out), "--results", str(tmp_path), "--only", "table_5", "table_7"]) == 0
    assert "| 1.20× ±0.08 | *not run here* |" in (out / "table_7.md").read_text()
    assert "| +0% | +21% | +0% | +20% |" in (out / "table_5.md").read_text()


BAD_RESULTS = {
    "metric": ("unknown metric 'nonsense'", {"metric": "nonsense"}),
    "value": ("value: Input should be a finite number", {"value": float("nan")}),
    "se": ("se: Input should be greater than or equal to 0", {"se": -1.0}),
    "n": ("n: Input should be greater than 0", {"n": 0}),
    "judge": ("needs a judge", {"judge": None}),
    "fit": ("arena_hard_sc, and no other, needs fitted_together", {"metric": "arena_hard_sc"}),
    "fit of another": ("arena_hard_sc, and no other, needs fitted_together", {"fitted_together": ["mine"]}),
    "type": ("value: Input should be a valid number", {"value": "41"}),
    "seed": ("seed: Input should be a valid integer", {"seed": True}),
    "run": ("unknown run 'nonsense'", {"run": "nonsense"}),
    "model": ("unknown model 'gpt-2'", {"model": "gpt-2"}),
}


@pytest.mark.parametrize("name", BAD_RESULTS)
def test_a_bad_result_file_is_one_line_and_exit_code_2(name, tmp_path, capsys):
    complaint, changes = BAD_RESULTS[name]
    path = result(tmp_path, **changes)
    assert main(["--out", str(tmp_path / "out"), "--results", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert str(path) in line
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_results_are_named(tmp_path):
    path = result(tmp_path)
    for text, complaint in (("{", "Expecting"), ('{"run": "dpo"}', "'metrics' is missing"), ("[]", "list indices")):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"ins-dpo\.json: .*{complaint}"):
            load(tmp_path)
    path.unlink()
    result(tmp_path).rename(tmp_path / "eval" / "llama-3-8b" / "dpo.json")
    with pytest.raises(ValueError, match="is of llama-3-8b/ins-dpo, but its path says otherwise"):
        load(tmp_path)


def test_no_number_of_a_run_is_there_twice(tmp_path):
    result(tmp_path)
    result(tmp_path, kind="cost")
    with pytest.raises(ValueError, match="alpaca_eval_lc is there twice"):
        load(tmp_path)


def test_the_named_commands_are_there():
    """Each configuration and each target of the Makefile that a figure or table sends its reader to."""
    makefile = (ROOT / "Makefile").read_text()
    for target in (commands.TOY, commands.TINY):
        assert f"\n{target.removeprefix('make ')}:" in makefile
    assert (ROOT / "scaled" / "reproduce" / "__main__.py").is_file()
    for command in (commands.TINY_BASELINE, overhead.HOW):
        paths = re.findall(r"\S+/\S+\.(?:py|yaml)\b", command.replace("`", " "))
        assert paths
        assert all((ROOT / path).exists() for path in paths)


def test_every_run_of_the_papers_tables_has_its_settings():
    runs = {run for number in (2, 3, 4) for _, run, _ in read(number).cells}
    assert runs - {"instruct"} <= set(RECIPES)
    assert {model for number in (2, 3, 4) for model, _, _ in read(number).cells} <= set(BASES)


# Files


def test_figures_are_pictures_and_tables_are_text(made):
    pictures = {f"{name}.{suffix}" for name in ITEMS if name not in TABLES for suffix in ("png", "svg", "pdf")}
    assert {path.name for path in made.iterdir()} == pictures | {f"{name}.md" for name in TABLES}
    assert all(path.stat().st_size > 500 for path in made.iterdir())


@pytest.mark.slow
def test_the_same_bytes_again(made, tmp_path):
    names = ["figure_1", "figure_2", "table_1", "table_4"]
    arguments = [sys.executable, "-m", "paper_figures", "--out", str(tmp_path), "--results", str(tmp_path / "nothing")]
    subprocess.run([*arguments, "--only", *names], check=True, capture_output=True, cwd=ROOT)
    written = sorted(tmp_path.iterdir())
    assert {path.stem for path in written} == set(names)
    for path in written:
        assert path.read_bytes() == (made / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", TABLES)
def test_markdown_rows_have_equal_columns_and_say_what_is_not_run(name, made):
    text = (made / f"{name}.md").read_text()
    columns = {len(re.split(r"(?<!\\)\|", line)) for line in lines(text, "|")}
    assert len(columns) == 1
    assert ("not run here" in text) == (name != "table_1")
    if name in ("table_2", "table_3", "table_4"):
        number = name.removeprefix("table_")
        assert f"`python -m scaled.reproduce --table {number} --launch local`" in text


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--only", "table_6"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "invalid choice: 'table_6'" in line
    assert main(["--only", "table_5", "--out", str(tmp_path / "file" / "below")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written" in line


def test_the_closing_table_names_every_item_and_the_folder(tmp_path, capsys):
    assert main(["--only", "table_5", "--out", str(tmp_path), "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "table_5" in printed
    assert "2 contradictions" in printed
    assert f"files: {tmp_path}" in printed
