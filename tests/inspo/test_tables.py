"""Preference tables as people have them: each kind of file is read as it is meant, or refused in one line."""

import itertools
import json
import math
import random

import numpy as np
import pytest
import torch

from inspo.command_line import UserError
from inspo.preferences import from_counts, load_table, validate

NINE = [f"model-{i} fine-tuned checkpoint" for i in range(9)]
PRICES = ["free", "pro ($20, was $29)", "team"]


@pytest.fixture
def table(tmp_path):
    """The table of a file with this text or these bytes."""

    def load(content, name="wins.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_table(path, **options)

    return load


@pytest.fixture
def refusal(table, tmp_path):
    """What is wrong with a file, without its path: one line."""

    def message(content, name="wins.csv", **options):
        with pytest.raises(UserError) as caught:
            table(content, name, **options)
        text = str(caught.value)
        assert text.isprintable(), text
        assert text.startswith(f"{tmp_path / name}: ")
        return text.removeprefix(f"{tmp_path / name}: ")

    return message


# ---------------------------------------------------------------- names


def test_rows_and_columns_that_name_different_responses_are_refused(refusal):
    """As pandas.crosstab writes wins where one response never wins and one never loses."""
    message = refusal("winner,A,B,C\nA,0,3,4\nB,2,0,5\nD,6,7,0\n")
    assert message == "rows are named A, B, D and columns A, B, C: name the same responses in the same order"
    assert "rows are named B, A and columns A, B" in refusal(",A,B\nB,0,3\nA,2,0\n")
    assert "same order" in refusal(",7,13,70\n13,0,3,4\n7,5,0,5\n70,6,5,0\n")


def test_two_responses_of_the_same_name_are_refused(refusal):
    wins = ",llama,llama,qwen\nllama,0,9,1\nllama,1,0,9\nqwen,9,1,0\n"
    assert refusal(wins) == 'two responses are named "llama"; give each its own name'
    content = json.dumps({"counts": [[0, 1], [1, 0]], "labels": ["7", 7]})
    assert 'two responses are named "7"' in refusal(content, "x.json")


NUMBERS = {
    "sizes": (",7,13,70\n7,0,3,4\n13,5,0,5\n70,6,5,0\n", ("7", "13", "70")),
    "pandas' own index": (",0,1,2\n0,0,3,4\n1,5,0,5\n2,6,5,0\n", ("0", "1", "2")),
    "sizes below a title": ("size,7,13,70\n7,0,3,4\n13,5,0,5\n70,6,5,0\n", ("7", "13", "70")),
    "a bread": (",Pita,Nan,Rye\nPita,0,3,4\nNan,5,0,5\nRye,6,5,0\n", ("Pita", "Nan", "Rye")),
    "what Python takes for numbers": (
        ",inf,1_000,nan1\ninf,0,3,4\n1_000,5,0,5\nnan1,6,5,0\n",
        ("inf", "1_000", "nan1"),
    ),
    "versions": (",1.5,2,2.5\n1.5,0,3,4\n2,5,0,5\n2.5,6,5,0\n", ("1.5", "2", "2.5")),
}


@pytest.mark.parametrize(("content", "labels"), NUMBERS.values(), ids=NUMBERS)
def test_names_may_be_numbers(content, labels, table):
    found = table(content)
    assert found.labels == labels
    assert found.counts.tolist() == [[0, 3, 4], [5, 0, 5], [6, 5, 0]]


@pytest.mark.parametrize("labels", [PRICES, NINE, ["<b>bold</b>", "a\\b", "_x_"], ["Größe", "日本", "🙂"]])
def test_any_text_is_a_name(labels, table):
    rows = [[0.5] * len(labels) for _ in labels]
    assert table(json.dumps({"preferences": rows, "labels": labels}), "x.json").labels == tuple(labels)


BAD_LABELS = {
    "none": [None, "b"],
    "blank": ["", "b"],
    "a list": [["a"], "b"],
    "a truth value": [True, "b"],
    "half a character": ["\ud800", "b"],
    "a bell": ["a\x07", "b"],
    "two lines": ["a\nb", "c"],
}


@pytest.mark.parametrize("labels", BAD_LABELS.values(), ids=BAD_LABELS)
def test_what_is_no_name_is_refused(labels, refusal):
    content = json.dumps({"preferences": [[0.5, 0.5], [0.5, 0.5]], "labels": labels})
    assert "label" in refusal(content, "x.json")


# ---------------------------------------------------------------- probabilities, percentages, counts

WIN_FRACTIONS = [[0.5, 0.7, 0.4], [0.3, 0.5, 0.6], [0.6, 0.4, 0.5]]


@pytest.mark.parametrize(
    "text",
    [
        "model_a,A,B,C\nA,,0.7,0.4\nB,0.3,,0.6\nC,0.6,0.4,\n",
        ",A,B,C\nA,nan,0.7,0.4\nB,0.3,nan,0.6\nC,0.6,0.4,nan\n",
        ",A,B,C\nA,NaN,0.7,0.4\nB,0.3,NaN,0.6\nC,0.6,0.4,NaN\n",
        ",A,B,C\nA,50,70,40\nB,30,50,60\nC,60,40,50\n",
        ",A,B,C\nA,50%,70%,40%\nB,30%,50%,60%\nC,60%,40%,50%\n",
        ",A,B,C\nA,,70 %,40 %\nB,30 %,,60 %\nC,60 %,40 %,\n",
        ",A,B,C\nA,0%,70%,40%\nB,30%,0%,60%\nC,60%,40%,0%\n",
        ",A,B,C\nA,0.5,0.7,0.4\nB,,0.5,0.6\nC,,,0.5\n",
        ",A,B,C\nA,,,\nB,0.3,,\nC,0.6,0.4,\n",
    ],
    ids=[*("blank", "nan", "NaN", "percent", "signs", "spaced signs", "zero signs", "upper half", "lower half")],
)
def test_one_table_of_probabilities_in_nine_layouts(text, table):
    found = table(text)
    assert found.labels == ("A", "B", "C")
    assert pytest.approx(np.array(WIN_FRACTIONS), abs=1e-15) == found.P
    assert found.counts is None


def test_bare_numbers_with_a_blank_diagonal_are_a_matrix(table):
    assert pytest.approx(np.array(WIN_FRACTIONS)) == table(",0.7,0.4\n0.3,,0.6\n0.6,0.4,\n").P
    assert table(",7,4\n3,,6\n6,4,\n").counts.tolist() == [[0, 7, 4], [3, 0, 6], [6, 4, 0]]


def test_nulls_of_json_are_blank_cells(table):
    content = {"preferences": [[None, 0.7, None], [None, None, 0.6], [0.6, None, None]]}
    assert pytest.approx(np.array(WIN_FRACTIONS), abs=1e-15) == table(json.dumps(content), "x.json").P


def test_pairs_that_add_up_to_a_hundred_are_asked_about(refusal, table):
    """Taken for counts, a table of percentages would get standard errors that nobody measured."""
    rows = [[0, 70, 55], [30, 0, 60], [45, 40, 0]]
    message = refusal("\n".join(",".join(map(str, row)) for row in rows))
    assert "percentages" in message
    assert "write 50 on the diagonal" in message
    assert table(json.dumps({"counts": rows}), "x.json").counts.tolist() == rows
    assert "percent" in refusal(",A,B\nA,50%,70\nB,30%,50%\n")


def test_half_a_table_of_counts_is_asked_about(refusal):
    for wins in ([[0, 7, 4], [0, 0, 6], [0, 0, 0]], [[0, 0, 0], [7, 0, 0], [4, 6, 0]]):
        message = refusal("\n".join(",".join(map(str, row)) for row in wins))
        assert "is this half a table?" in message
        assert "half a table?" in refusal(json.dumps({"counts": wins}), "x.json")
    assert "half a table of counts" in refusal(",A,B\nA,,7\nB,,\n")


def test_half_a_table_of_probabilities_with_zeros_is_refused_and_how_far_it_is_off(refusal):
    assert "P[0, 1] (A over B) + P[1, 0] = 0.7 + 0.0 must be 1, off by 0.3" in refusal(",A,B\nA,0.5,0.7\nB,0,0.5\n")


def test_ties_as_halves_are_told_how_they_can_be_given(refusal):
    message = refusal(",A,B,C\nA,0,7.5,4\nB,3.5,0,6\nC,6,4,0\n")
    assert "counts[0, 1] (A over B) = 7.5 is fractional" in message
    assert "double all counts or give probabilities" in message


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_are_named(separator, name, refusal):
    text = "name,A,B,C\nA,0,7,4\nB,3,0,6\nC,6,4,0\n".replace(",", separator)
    assert f"separated by {name}; separate by commas" in refusal(text)


def test_a_byte_order_mark_is_no_part_of_the_table(table):
    for text in ("0,3\n1,0\n", ",a,b\na,0,3\nb,1,0\n", "a,b\n0,3\n1,0\n"):
        assert table(b"\xef\xbb\xbf" + text.encode()).counts.tolist() == [[0, 3], [1, 0]]
    content = {"counts": [[0, 3], [1, 0]]}
    assert table(b"\xef\xbb\xbf" + json.dumps(content).encode(), "x.json").counts.tolist() == [[0, 3], [1, 0]]


def test_probabilities_of_float32_are_made_to_sum_to_one(table):
    scores = torch.tensor([1.2, 0.3, -0.8, 0.05])
    P = torch.sigmoid(scores[:, None] - scores[None, :]).numpy()
    rows = [
        "," + ",".join("ABCD"),
        *(f"{name}," + ",".join(map(str, row)) for name, row in zip("ABCD", P, strict=True)),
    ]
    assert abs(P + P.T - 1).max() > 1e-8
    for found in (validate(P), table("\n".join(rows)).P):
        assert abs(found + found.T - 1).max() <= 1e-15
        assert abs(found - P).max() < 1e-7
    with pytest.raises(ValueError, match="must be 1, off by 2e-06"):
        validate([[0.5, 0.700002], [0.3, 0.5]])
    as_it_is = np.array([[0.5, 0.1 + 0.2], [0.7, 0.5]])
    assert (validate(as_it_is) == as_it_is).all()


# ---------------------------------------------------------------- smoothing


def test_smoothing_adds_wins_to_both_sides_of_every_pair(table):
    found = table(",A,B\nA,0,40\nB,0,0\n", smoothing=0.5)
    assert found.P.tolist() == [[0.5, 40.5 / 41], [0.5 / 41, 0.5]]
    assert found.counts.tolist() == [[0, 40], [0, 0]]
    assert found.smoothing == 0.5
    assert from_counts([[0, 3], [1, 0]], smoothing=2)[0, 1] == 5 / 8
    with pytest.raises(ValueError, match="smoothing = -1"):
        from_counts([[0, 3], [1, 0]], smoothing=-1)


def test_probabilities_cannot_be_smoothed(refusal):
    assert refusal("0.5,1\n0,0.5\n", smoothing=0.5) == "probabilities cannot be smoothed, only counts"


# ---------------------------------------------------------------- files that are something else


def test_what_is_no_readable_file_is_refused_before_it_is_read(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for path in (tmp_path / "x.csv", tmp_path / "loop.csv", tmp_path / ("x" * 300), tmp_path / "a\0b.csv", "/dev/zero"):
        with pytest.raises(UserError) as caught:
            load_table(path)
        assert "\n" not in str(caught.value)


OTHERS = {
    "Latin-1": (b"\xe4,b\n0,3\n1,0\n", "x.csv", "not a text file in UTF-8 (byte 0)"),
    "UTF-16": ("a,b\n0,3\n1,0\n".encode("utf-16"), "x.csv", "not a text file"),
    "keys twice": ('{"counts": [[0, 3], [1, 0]], "counts": [[0, 1], [3, 0]]}', "x.json", "'counts' is there twice"),
    "keys unknown": ('{"counts": [[0, 3], [1, 0]], "lables": ["a", "b"]}', "x.json", "did you mean labels?"),
    "no text": ('{"counts": [[0, 3], [1, 0]], "name": {}}', "x.json", '"name" must be a text'),
    "digits": ('{"counts": [[0, ' + "9" * 5000 + "], [1, 0]]}", "x.json", "not valid JSON"),
    "huge": ('{"preferences": [[0.5, ' + "9" * 400 + "], [1.5, 0.5]]}", "x.json", "P[0, 1] is too large"),
    "depth": ('{"counts": ' + "[" * 50_000, "x.json", "not valid JSON"),
    "a list of wins": ("winner,loser,times\nA,B,3\nB,A,2\nA,C,4\nB,C,5\n", "x.csv", "must be square"),
    "decimal commas": ('"0,5","0,7"\n"0,3","0,5"\n', "x.csv", "'0,5'"),
    "a quote that stays open": (',a,b\n"a,0,3\nb,1,0\n', "x.csv", ""),
}


@pytest.mark.parametrize(("content", "name", "offence"), OTHERS.values(), ids=OTHERS)
def test_other_files_are_refused_by_what_is_wrong_with_them(content, name, offence, refusal):
    assert offence in refusal(content, name)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with a few bytes flipped, cut, doubled, inserted or swapped."""
    damaged_ = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(damaged_) + 1)
        end = min(len(damaged_), at + rng.randint(1, 12))
        match rng.randrange(6):
            case 0:
                damaged_[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 3)))
            case 1:
                del damaged_[at:end]
            case 2:
                damaged_[at:at] = damaged_[at:end] * rng.randint(1, 3)
            case 3 if at < len(damaged_):
                damaged_[at] ^= 1 << rng.randrange(8)
            case 4:
                del damaged_[at:]
            case _:
                damaged_[at:at] = rng.choice([b'"', b",", b"\n", b"nan", b"-", b"1e999", b"[", b"}", b"%", b"null"])
        if not damaged_:
            break
    return bytes(damaged_)


WHOLE = {
    "counts.csv": ",a,b,c\na,0,3,2\nb,1,0,4\nc,2,5,0\n",
    "probabilities.csv": ",7,13,70\n7,0.5,0.7,0.4\n13,0.3,0.5,0.6\n70,0.6,0.4,0.5\n",
    "percent.csv": "A,B,C\n50%,70%,40%\n30%,50%,60%\n60%,40%,50%\n",
    "counts.json": json.dumps({"counts": [[0, 3, 2], [1, 0, 4], [2, 5, 0]], "labels": list("abc"), "source": "s"}),
    "preferences.json": json.dumps({"preferences": WIN_FRACTIONS, "name": "n", "labels": PRICES}),
}


@pytest.mark.parametrize(("name", "seed"), [*itertools.product(WHOLE, range(25))])
def test_a_damaged_file_is_one_line_or_a_valid_table(name, seed, tmp_path):
    path = tmp_path / name
    path.write_bytes(damaged(WHOLE[name].encode(), random.Random(f"{name} {seed}")))  # noqa: S311, no secret
    found, message = None, ""
    try:
        found = load_table(path)
    except UserError as error:
        message = str(error)
    if found is None:
        assert message.startswith(f"{path}: ")
        assert len(message.splitlines()) == 1, message
        return
    assert abs(found.P + found.P.T - 1).max() <= 1e-12
    assert len(set(found.labels)) == len(found.labels) == len(found.P) >= 2
    assert all(math.isfinite(entry) for entry in found.P.flat)
    json.dumps([*found.labels, found.name], ensure_ascii=False).encode()
