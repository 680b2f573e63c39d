"""Coq checks the proofs; the check refuses what is false, unproved or unexplained."""

import re

import pytest
from examples import missing as skip_or_fail

from theory.proofs import (
    ASSUMED,
    HERE,
    REALS,
    ProofError,
    assumptions,
    check_file,
    compile_file,
    hold_to_assumed,
    missing,
    read_theorems,
    run_coq,
    theorem,
    theorems,
)
from theory.proofs.__main__ import main

# Each makes a theorem false: file, theorem, what its statement says, what it says instead.
MUTANTS = {
    "no gap without full support": (
        "games.v",
        "no_gap_iff_common_best_response",
        "full_support mu ->",
        "distribution mu ->",
    ),
    "a policy that only copies has a loss": ("regularized.v", "valley_of_9", "0 < c <= 1", "0 <= c <= 1"),
    "Eq. (6) forces 1/3": (
        "regularized.v",
        "choice_model_of_all_pairs_forces_half",
        "P i j = 1 / 2",
        "P i j = 1 / 3",
    ),
    "half the bound": (
        "games.v",
        "nearly_separable_gap",
        "2%:R * eps * (1 - (#|T|)%:R^-1)",
        "eps * (1 - (#|T|)%:R^-1)",
    ),
    "weak transitivity": (
        "games.v",
        "strong_transitivity_suffices",
        "P a b <= P a c /\\ P b c <= P a c",
        "2%:R^-1 <= P a c",
    ),
    "optima of any two references": (
        "games.v",
        "optima_invariant",
        "(forall j, (0 < mu j) = (0 < mu' j)) ->",
        "",
    ),
}


@pytest.fixture
def coq():
    reason = missing()
    if reason is not None:
        skip_or_fail(reason)


@pytest.mark.slow
@pytest.mark.parametrize("file", ASSUMED)
@pytest.mark.usefixtures("coq")
def test_every_theorem_checks_and_rests_on_no_more_than_stated(file):
    check_file(file)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.usefixtures("coq")
def test_a_false_theorem_is_refused(mutant, tmp_path):
    file, name, old, new = MUTANTS[mutant]
    text = (HERE / file).read_text(encoding="utf-8")
    before, name_, rest = text.partition(f"Theorem {name} ")
    statement, proof, after = rest.partition("\nProof")
    assert statement.count(old) == 1
    until_qed = after.partition("Qed.")
    mutated = before + name_ + statement.replace(old, new) + proof + until_qed[0] + until_qed[1]
    with pytest.raises(ProofError, match=rf"^{file}, line \d+, in or after {name}: "):
        compile_file(mutated, file, tmp_path)


LEMMA = (
    "Lemma hope : 0 = 1.\n{}\n\n(** [Nowhere] Zero is one. *)\nTheorem zero_is_one : 0 = 1.\nProof. exact hope. Qed.\n"
)


@pytest.mark.usefixtures("coq")
def test_a_text_is_compiled_once_and_a_changed_one_again(tmp_path, monkeypatch):
    compiled = []

    def counted(text, file, folder):
        compiled.append(text)
        return run_coq(text, file, folder)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("theory.proofs.HERE", tmp_path)
    monkeypatch.setattr("theory.proofs.run_coq", counted)
    monkeypatch.setitem(ASSUMED, "one.v", frozenset())
    one = "(** [Nowhere] One is one. *)\nTheorem one : 1 = 1.\nProof. reflexivity. Qed.\n"

    def compilations(text, **options):
        (tmp_path / "one.v").write_text(text, encoding="utf-8")
        before = len(compiled)
        try:
            check_file("one.v", **options)
        except ProofError:
            return len(compiled) - before, "refused"
        return len(compiled) - before, "accepted"

    assert compilations(one) == (1, "accepted")
    assert compilations(one) == (0, "accepted")
    assert compilations(one.replace("1 = 1", "2 = 2")) == (1, "accepted")
    false, gap = one.replace("1 = 1", "1 = 2"), one.replace("reflexivity. Qed", "Admitted")
    assert [compilations(false), compilations(false)] == [(1, "refused")] * 2
    assert [compilations(gap), compilations(gap)] == [(1, "refused"), (0, "refused")], "what it rests on is kept"
    assert compilations(one) == (0, "accepted")
    assert compilations(one, anew=True) == (1, "accepted")


@pytest.mark.parametrize("way", ["Proof. Admitted.", ""])
@pytest.mark.usefixtures("coq")
def test_a_theorem_that_rests_on_a_gap_is_refused(way, tmp_path):
    text = LEMMA.format(way) if way else LEMMA.format("").replace("Lemma hope", "Axiom hope")
    rests_on = compile_file(text, "false.v", tmp_path)
    with pytest.raises(ProofError, match=r"^false.v, line \d: zero_is_one rests on hope, which is not proved$"):
        hold_to_assumed(text, "false.v", rests_on, frozenset())


@pytest.mark.usefixtures("coq")
def test_an_error_names_file_theorem_and_line(tmp_path):
    text = LEMMA.format("Proof. Admitted.").replace("exact hope", "reflexivity")
    with pytest.raises(ProofError, match=r'^false.v, line 6, in or after zero_is_one: Unable to unify "1" with "0"'):
        compile_file(text, "false.v", tmp_path)


@pytest.mark.usefixtures("coq")
def test_the_axioms_of_the_reals_are_those_of_coqs_own_logarithm(tmp_path):
    text = "From Coq Require Import Reals.\n(** [Nowhere] One. *)\nTheorem log : ln 1 = 0%R.\nProof. exact ln_1. Qed.\n"
    assert compile_file(text, "log.v", tmp_path) == [REALS]


def test_coqs_answers_are_read():
    assert assumptions("Closed under the global context\n") == frozenset()
    axioms = "Axioms:\nA.one : forall P : Prop,\n        {P} + {~ P}\nB.two\n  : forall x, x = x\nthree : False\n"
    assert assumptions(axioms) == {"A.one", "B.two", "three"}


def test_every_theorem_is_explained_and_assumes_nothing_elsewhere():
    assert {path.name for path in HERE.glob("*.v")} == set(ASSUMED)
    for file in ASSUMED:
        text = (HERE / file).read_text(encoding="utf-8")
        assert not re.search(r"\b(Hypothes[ie]s|Axioms?|Parameters?|Conjecture|Admitted|admit|give_up)\b", text)
    assert len(theorems()) == sum(len(re.findall(r"^Theorem ", (HERE / f).read_text(), re.MULTILINE)) for f in ASSUMED)
    for stated in theorems().values():
        assert stated.sentence[0].isupper()
        assert stated.sentence.endswith(".")
        assert theorem(stated.name) is stated


def test_a_theorem_without_its_sentence_is_refused():
    with pytest.raises(ProofError, match=r"^x.v, line 2: bare lacks its comment"):
        read_theorems("\nTheorem bare : True.\nProof. exact I. Qed.\n", "x.v")


def test_an_unknown_theorem_is_answered_with_the_known_ones():
    with pytest.raises(KeyError, match=r"no theorem 'fermat' in theory/proofs; there are .*separable_no_gap"):
        theorem("fermat")


@pytest.mark.parametrize("arguments", [[], ["--all"]])
def test_the_command_says_in_one_line_why_it_cannot_check(arguments, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert ("make coq" in message) == (not arguments)


@pytest.mark.slow
@pytest.mark.usefixtures("coq")
def test_the_command_compiles_anew_and_prints_what_is_proved(capsys, monkeypatch):
    asked = []

    def once(file, *, anew):
        asked.append((file, anew))
        check_file(file)

    monkeypatch.setattr("theory.proofs.__main__.check_file", once)
    assert main([]) == 0
    assert sorted(asked) == [(file, True) for file in sorted(ASSUMED)]
    printed = capsys.readouterr().out
    assert f"Coq has checked {len(theorems())} theorems" in printed
    for stated in theorems().values():
        assert f"    {stated.name} " in printed


def test_the_page_explains_every_theorem():
    page = (HERE / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == set(theorems())
