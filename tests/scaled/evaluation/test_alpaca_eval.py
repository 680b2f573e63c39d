"""AlpacaEval 2: files, prompts and preferences, against the package's own code."""

import gzip
import json
from math import isnan, log, nan

import pytest

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import alpaca_eval
from scaled.evaluation.benchmarks.base import Answer


@pytest.fixture
def tiny(tmp_path):
    rows = [
        {"dataset": "d", "instruction": text, "output": f"base on {text}", "generator": "gpt4_1106_preview"}
        for text in ("a", "b", "c")
    ]
    (tmp_path / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps(rows))
    return tmp_path


def answers(*texts, model="ours"):
    return [Answer(str(index), model, (text,)) for index, text in enumerate(texts)]


@pytest.mark.slow
def test_prompts_and_orders_are_the_packages(tiny):
    pandas = pytest.importorskip("pandas")
    from alpaca_eval import constants, utils
    from alpaca_eval.processors import RandomSwitchTwoColumnsProcessor

    texts = [f"instruction {index} of {{output_1}}" for index in range(60)]
    rows = [{"instruction": text, "output": f"base {text}", "generator": "gpt4_1106_preview"} for text in texts]
    (tiny / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps(rows))
    questions = alpaca_eval.questions(tiny)
    asked = alpaca_eval.requests(tiny, questions, answers(*(f"ours {{instruction}} {text}" for text in texts)))
    frame = pandas.DataFrame({"instruction": texts, "output_1": [row["output"] for row in rows]}).assign(
        output_2=[f"ours {{instruction}} {text}" for text in texts]
    )
    switch = RandomSwitchTwoColumnsProcessor(
        ["output_1", "output_2"], random_seed_columns=("instruction",), _switch_column="is_switched_outputs"
    ).preprocess(frame)
    template = (constants.EVALUATORS_CONFIG_DIR / "alpaca_eval_clf_gpt4_turbo" / "alpaca_eval_clf.txt").read_text()
    prompts, _ = utils.make_prompts(switch, template)
    assert [list(request.messages) for request in asked] == [
        [{"role": m["role"], "content": m["content"]} for m in utils.prompt_to_chatml(prompt)] for prompt in prompts
    ]
    parts = [alpaca_eval.PARTS[flag] for flag in switch["is_switched_outputs"]]
    assert [request.part for request in asked] == parts
    assert len(set(parts)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "logprobs",
    [{"m": -0.2, "M": -1.8, "x": -4.0}, {"M": -0.01}, {"m": -3.0}, {"x": 0.0}, {"m": -800.0, "M": -801.0}],
)
def test_preferences_are_the_packages(logprobs):
    parser = pytest.importorskip("alpaca_eval.completion_parsers").logprob_parser
    top = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    (theirs,) = parser(
        {"logprobs": {"content": [{"top_logprobs": top}]}},
        numerator_token="m",  # noqa: S106  # a token of text
        denominator_tokens=["m", "M"],
        is_binarize=False,
    )
    ours = alpaca_eval.preference("baseline first", "", logprobs)
    assert ours == pytest.approx(theirs, nan_ok=True, abs=1e-12)
    assert alpaca_eval.preference("model first", "", logprobs) == pytest.approx(3 - theirs, nan_ok=True, abs=1e-12)


def test_preferences_by_hand():
    three_to_one = {"m": log(0.2), "M": log(0.6)}
    assert alpaca_eval.preference("baseline first", "m", three_to_one) == pytest.approx(1.75)
    assert alpaca_eval.preference("model first", "m", three_to_one) == pytest.approx(1.25)
    assert alpaca_eval.preference("baseline first", " M\n", None) == 2
    assert alpaca_eval.preference("model first", "'M'", None) == 1
    assert isnan(alpaca_eval.preference("model first", "Both", None))


def test_equal_outputs_are_a_tie_that_nobody_is_asked_about(tiny):
    questions = alpaca_eval.questions(tiny)
    ours = answers("base on a", "", "z")
    asked = alpaca_eval.requests(tiny, questions, ours)
    assert [request.question for request in asked] == ["1", "2"]
    found = [alpaca_eval.Row("2", "ours", nan), alpaca_eval.Row("1", "ours", 1.25)]
    base = alpaca_eval.baseline_answers(tiny, questions)
    values = alpaca_eval.preferences(found, ours, base)
    assert list(values[:2]) == [1.5, 1.25]
    assert isnan(values[2])
    with pytest.raises(UserError, match="1 of 3 instructions are not judged, first 2"):
        alpaca_eval.preferences(found[1:], ours, base)


def test_a_text_verdict_is_asked_for_without_logprobs(tiny):
    questions = alpaca_eval.questions(tiny)
    ours = answers("x", "y", "z")
    assert alpaca_eval.requests(tiny, questions, ours)[0].options["logprobs"] is True
    assert "logprobs" not in alpaca_eval.requests(tiny, questions, ours, "text")[0].options


def line(logprobs, options):
    answer = {"text": "M", "logprobs": logprobs}
    request = {"options": options}
    return {"question": "0", "model": "o", "part": "baseline first", "judge": "j", "request": request, "answer": answer}


def test_rows_of_a_store():
    assert alpaca_eval.rows_of_store([line({"M": 0.0}, {"logprobs": True})])[0].preference == 2
    assert alpaca_eval.rows_of_store([line(None, {})])[0].preference == 2
    with pytest.raises(UserError, match=r"gave no log-probs.*--mode text"):
        alpaca_eval.rows_of_store([line(None, {"logprobs": True})])


def test_outputs_are_matched_by_instruction_and_come_back(tiny):
    questions = alpaca_eval.questions(tiny)
    ours = answers("x", "", "z")
    alpaca_eval.write_answers(tiny / "ours.json", ours[::-1], questions)
    rows = json.loads((tiny / "ours.json").read_text())
    assert rows[1] == {"dataset": "d", "instruction": "b", "output": "", "generator": "ours"}
    (tiny / "ours.json").write_text(json.dumps(rows[::-1]))
    assert alpaca_eval.read_answers(tiny / "ours.json", questions) == ours


def test_the_hubs_order_is_kept(shared_data, tmp_path):
    with gzip.open(shared_data / "judged_pairs" / "alpacaeval2_gpt4_turbo.jsonl.gz", "rt") as file:
        pairs = [json.loads(line) for line in file][:805]
    rows = [{"instruction": p["prompt"], "output": p["response_b"], "generator": p["model_b"]} for p in pairs]
    path = tmp_path / "alpaca_eval.json"
    path.write_text(json.dumps(rows))
    assert len(alpaca_eval.questions(tmp_path)) == 805
    path.write_text(json.dumps([rows[1], rows[0], *rows[2:]]))
    with pytest.raises(UserError, match="another order"):
        alpaca_eval.questions(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": "text_davinci_003"}, "AlpacaEval 1"),
        ({"instruction": "a"}, "twice"),
        ({"output": None}, "item 0: 'output' is not str"),
    ],
)
def test_other_files_are_refused(tiny, change, message):
    path = tiny / "alpaca_eval_gpt4_baseline.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row | change for row in rows]))
    with pytest.raises(UserError, match=message):
        alpaca_eval.baseline_answers(tiny, alpaca_eval.questions(tiny))
    path.write_text("{}")
    with pytest.raises(UserError, match="not a list"):
        alpaca_eval.questions(tiny)
