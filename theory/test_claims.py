"""Every check of every claim, and the machinery that turns checks into verdicts."""

import dataclasses
import html
import json
import os
import pkgutil
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from examples import missing as skip_or_fail

from theory import claims, exact, front_page
from theory.__main__ import VERDICTS, main
from theory.claims import eq_6
from theory.evidence import UNCOUNTED, Claim, Judgment, Outcome, Role, Sentence, Verdict, judge, run, says, verdict
from theory.judging import findings, judge_all
from theory.proofs import missing, theorem
from theory.proved import proof_of
from theory.registry import CLAIMS, IDS, find_claim, module_name
from theory.report import markdown

CHECKS = [
    pytest.param(evidence, id=f"{claim.id}: {evidence.name} ({evidence.kind})")
    for claim in CLAIMS.values()
    for evidence in claim.evidence
]


@pytest.mark.slow
@pytest.mark.parametrize("evidence", CHECKS)
def test_evidence(evidence):
    reason = missing() if evidence.kind == "proof" else None
    if reason is not None:
        skip_or_fail(reason)
    outcome = run(evidence)
    if not outcome.passed:
        evidence.run()  # again, for pytest's account of the failure
        pytest.fail(f"failed once and then passed: {outcome.failure}")
    assert outcome.finding
    assert "\n" not in outcome.finding


def test_every_claim_has_its_file_and_every_file_its_claim():
    files = {module.name for module in pkgutil.iter_modules(claims.__path__)}
    assert sorted(files) == sorted(map(module_name, CLAIMS))
    for claim_id in CLAIMS:
        module = import_module(f"theory.claims.{module_name(claim_id)}")
        found = [value.id for value in vars(module).values() if isinstance(value, Claim)]
        assert found == [claim_id]
        own = [evidence.run for evidence in module.CLAIM.evidence if evidence.kind != "proof"]
        assert all((run.__module__ + ".").startswith(module.__name__ + ".") for run in own)


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_every_claim_is_decided_by_two_kinds_of_evidence(claim):
    judgment = judge(claim)
    assert judgment.verdict is not Verdict.UNDECIDED
    assert bool(claim.missing) == (judgment.verdict is Verdict.CONDITIONAL)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_every_sentence_names_checks_and_every_deciding_check_shows_one(claim):
    assert claim.truth
    assert len({evidence.run.__name__ for evidence in claim.evidence}) == len(claim.evidence), "two checks of one name"
    cited = {number for sentence in claim.sentences for number in claim.numbers(sentence)}
    idle = [e.run.__name__ for n, e in enumerate(claim.evidence, 1) if n not in cited]
    assert set(idle) <= {"the_librarys_measures_agree"}, "it holds a tool of the other checks against the library"
    assert all(sentence.text[-1] == "." for sentence in claim.truth)
    assert claim.quote or claim.id in front_page.OWN
    assert claim.quote or claim.reading


PAPER = Path(__file__).parents[2] / "shared" / "paper" / "inspo_paper.md"
SPOKEN = {"ell": "l", "to": "-", "gets": "-"} | {name: name for name in ("pi", "Psi", "beta", "sigma", "theta", "log")}


def letters(text):
    """Letters, digits and % . + = - of a text in lower case; of LaTeX's commands the names of letters alone."""
    text = re.sub(r"\\bar\s*\{\s*\\pi\s*\}", "pi_bar", html.unescape(text)).replace("β", "beta")
    text = re.sub(r"\\widehat\s*\{\s*\\pi\s*\}", "pi_hat", text)
    text = re.sub(r"</?t[dr][^>]*>", "", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda found: SPOKEN.get(found[1], ""), text)
    return re.sub(r"[^a-z0-9%.+=-]", "", text.lower())


def test_letters_of_formulas_and_plain_text():
    assert letters(r"$\pi _ {\mathrm{ref}}$ and $\bar{\pi}$") == letters("pi_ref and pi_bar") == "pirefandpibar"
    assert letters(r"\sigma \left(2 (r - \beta \log Z)\right)") == letters("sigma(2(r - beta log Z))")
    assert letters(r"$\widehat{\pi}$ is optimal") != letters("pi_bar is optimal")


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS.values() if claim.quote], ids=lambda claim: claim.id)
def test_quotes_are_the_papers_words(claim):
    if not PAPER.exists():
        skip_or_fail("the paper is not in ../shared/paper")
    paper = letters(PAPER.read_text(encoding="utf-8"))
    pieces = claim.quote.split(" ... ")
    assert [piece for piece in pieces if letters(piece) not in paper] == []
    assert all(len(letters(piece)) > 15 for piece in pieces), "too short to be held against anything"


@pytest.mark.parametrize("claim", [c for c in CLAIMS.values() if c.missing], ids=lambda claim: claim.id)
def test_a_missing_assumption_is_shown_to_suffice(claim):
    shown_by = [claim.evidence[number - 1].role for number in claim.numbers(claim.missing)]
    assert Role.REPAIRED in shown_by
    assert any(evidence.role is Role.REFUTED for evidence in claim.evidence)


def test_proofs_are_theorems_with_their_sentence():
    proofs = [evidence for claim in CLAIMS.values() for evidence in claim.evidence if evidence.kind == "proof"]
    assert len(proofs) >= 10
    assert all(theorem(evidence.run.__name__).sentence == evidence.shows for evidence in proofs)
    with pytest.raises(KeyError, match="no theorem 'fermat'"):
        proof_of("fermat")


def test_the_front_page_rests_on_claims_and_fits_a_page():
    findings = [finding for part in front_page.PAGE.values() for finding in part]
    for text, rests_on in findings:
        assert rests_on
        for claim_id, names in rests_on.items():
            assert CLAIMS[claim_id].numbers(says(text, *names))
    assert len(CLAIMS) == len(IDS), "an id is listed twice"
    assert sum(len(text.split()) for text, _ in findings) < 450
    page = markdown([Judgment(claim, []) for claim in CLAIMS.values()])
    assert "([eq-6](#eq-6) 3, 15)" in page, "the numbers of the checks that a finding rests on"
    assert page.index("## What training finds") < page.index("## What is deployed") < page.index("## The claims")


def test_a_sentence_without_a_check_is_refused():
    with pytest.raises(ValueError, match=r"no check is named for: All is well\."):
        says("All is well.")
    with pytest.raises(ValueError, match=r"eq-6: no check nowhere, which is to show: All is well\."):
        CLAIMS["eq-6"].numbers(says("All is well.", "two_responses", "nowhere"))


@pytest.mark.slow
def test_a_broken_witness_changes_the_verdict(monkeypatch):
    claim = CLAIMS["eq-6"]
    assert judge(claim).verdict is Verdict.FALSE
    monkeypatch.setattr(eq_6, "W", exact.preferences("4/10 9/10 3/5"))
    judgment = Judgment(claim, [run.__wrapped__(evidence) for evidence in claim.evidence])
    assert judgment.verdict is Verdict.UNDECIDED
    assert "columns of the witness" in [o.evidence.name for o in judgment.outcomes if not o.passed]


def claim_of(*roles_and_kinds, broken=()):
    claim = Claim("id", "paper", "quote", "reading", (), Sentence("witness", ()))
    for number, (role, kind) in enumerate(roles_and_kinds):

        def check(number=number):
            assert number not in broken, "broken"
            return "found"

        claim.check(role, kind)(check)
    return judge(claim).verdict


def test_verdicts_follow_from_roles():
    stated, refuted, repaired = ([(role, "exact"), (role, "z3")] for role in (Role.STATED, Role.REFUTED, Role.REPAIRED))
    instead = (Role.INSTEAD, "property")
    assert claim_of(*stated) is Verdict.TRUE
    assert claim_of(*refuted, *repaired) is Verdict.CONDITIONAL
    assert claim_of(*refuted, instead) is Verdict.FALSE
    assert claim_of((Role.UNSHOWN, "exact"), (Role.UNSHOWN, "bootstrap"), instead) is Verdict.NOT_SHOWN
    outside = [(Role.OUTSIDE, "exact"), (Role.OUTSIDE, "property")]
    assert claim_of(*outside, instead) is Verdict.OUTSIDE
    assert claim_of(*outside, *refuted) is Verdict.UNDECIDED, "what the model leaves open it cannot refute"
    assert claim_of(*refuted, *stated) is Verdict.UNDECIDED, "they contradict each other"
    assert claim_of(*stated, *repaired) is Verdict.UNDECIDED, "what holds needs no repair"
    assert claim_of(*repaired) is Verdict.UNDECIDED, "nothing shows that it needs one"
    assert claim_of(*refuted, *repaired, broken=[0]) is Verdict.UNDECIDED
    assert claim_of(*refuted, *repaired, instead, broken=[4]) is Verdict.UNDECIDED


def test_every_role_that_decides_needs_two_kinds():
    def twice(role):
        return [(role, "exact"), (role, "exact")]

    two = [(Role.REFUTED, "exact"), (Role.REFUTED, "z3")]
    others = [(Role.INSTEAD, "ODE"), (Role.INSTEAD, "property")]
    assert claim_of(*twice(Role.STATED), *others) is Verdict.UNDECIDED
    assert claim_of(*twice(Role.OUTSIDE), *others) is Verdict.UNDECIDED
    assert claim_of(*twice(Role.REFUTED), *others) is Verdict.UNDECIDED
    assert claim_of(*two, *twice(Role.REPAIRED)) is Verdict.UNDECIDED
    assert claim_of(*twice(Role.REFUTED), (Role.REPAIRED, "z3"), (Role.REPAIRED, "ODE")) is Verdict.UNDECIDED
    assert claim_of(*two, *others) is Verdict.FALSE
    for kind in UNCOUNTED:
        assert claim_of((Role.STATED, "exact"), (Role.STATED, kind)) is Verdict.UNDECIDED
        assert claim_of(*two, (Role.REFUTED, kind)) is Verdict.FALSE
    assert verdict([]) is Verdict.UNDECIDED


def test_an_error_is_no_evidence():
    evidence = dataclasses.replace(CLAIMS["eq-6"].evidence[0], run=lambda: 1 / 0)
    outcome = run(evidence)
    assert not outcome.passed
    assert outcome.failure == "ZeroDivisionError: division by zero"
    assert isinstance(outcome, Outcome)


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("THEORY_PROFILE", "quick") != "quick", reason="it counts the quick examples")
def test_verdicts_file_is_current():
    current = markdown([judge(claim) for claim in CLAIMS.values()])
    assert VERDICTS.read_text(encoding="utf-8") == current, "run `python -m theory --write`"


NUMBERED = """
Eq. (1) | Eq. (2) | Eq. (3) | Eq. (4)
Prop. 3.1 | proof of Prop. 3.1 | Eq. (5) | Thm 3.2 (i) | Thm 3.2 (ii) | Thm 3.2 (iii) | Eq. (6) | Eq. (7) | (8)
Eq. (9) | Thm 4.1 | proof of Thm 4.1 | (11) | Eq. (10) | Alg. 1 | Table 1 | Sec. 5.3 (i)
Sec. 5.3 (ii) | Sec. 5.3 (iii) | Sec. 5.3 (iv)
Table 2 | Table 3 | Table 4 | Table 5 | Table 6 | Table 7 | Eq. (12) | (13) | Eq. (14) | (15) | Eq. (16)
"""


@pytest.mark.parametrize(
    "number", [number.strip() for line in NUMBERED.split("\n") for number in line.split("|") if line]
)
def test_every_numbered_statement_has_a_claim(number):
    assert [claim.id for claim in CLAIMS.values() if number in claim.paper]


def test_unknown_claim_lists_the_known_ones(capsys):
    with pytest.raises(ValueError, match=r"no claim 'lemma-9'; known: thm-4\.1-eq-9, eq-10"):
        find_claim("lemma-9")
    assert main(["--claim", "lemma-9"]) == 2
    assert main(["--claim", ""]) == 2
    message = capsys.readouterr().err
    assert all(claim_id in message for claim_id in CLAIMS)


@pytest.mark.parametrize("option", ["--write", "--check"])
@pytest.mark.parametrize("other", [["--claim", "eq-6"], ["--thorough"]])
def test_the_verdicts_file_is_written_and_checked_in_one_way(option, other, capsys, monkeypatch):
    monkeypatch.setenv("THEORY_PROFILE", "quick")  # put back afterwards: --thorough sets it
    monkeypatch.setattr("theory.__main__.judge_all", lambda _: pytest.fail("work before the command line is refused"))
    assert main([option, *other]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {option} ")
    assert f"leave out {other[0]}" in message
    assert message.count("\n") == 1


def test_a_wrong_option_is_reported_in_one_line(capsys):
    assert main(["--jsn"]) == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --jsn (--help lists the options)\n"


def test_an_unknown_profile_is_refused_before_any_check(capsys, monkeypatch):
    monkeypatch.setenv("THEORY_PROFILE", "thorogh")
    assert main(["--claim", "eq-16"]) == 2
    assert "THEORY_PROFILE = 'thorogh'" in capsys.readouterr().err


def test_story_and_json_of_one_claim(capsys):
    assert main(["--claim", "eq-6"]) == 0
    story = capsys.readouterr().out
    assert story.startswith("Eq. (6); Sec. 4, from Eq. (5) to argmax E[r] (eq-6): false")
    assert 'The paper: "model assumption in (6) is mild' in story
    assert "Read as:   Every P has a reward" in story
    assert main(["--claim", "eq-6", "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "false"
    assert data["quote"].startswith("model assumption")
    assert data["missing"] is None
    assert data["witness"]["shown_by"] == [1]
    assert len(data["evidence"]) == len(CLAIMS["eq-6"].evidence)
    assert all(check["passed"] for check in data["evidence"])


def test_a_failure_shows_in_every_report(capsys, monkeypatch):
    failing = dataclasses.replace(CLAIMS["eq-6"], evidence=list(CLAIMS["eq-6"].evidence))

    def broken():
        raise AssertionError("no longer so")

    failing.check(Role.REFUTED, "exact")(broken)
    monkeypatch.setitem(CLAIMS, "eq-6", failing)
    assert main(["--claim", "eq-6"]) == 1
    assert "no longer so" in capsys.readouterr().out
    page = markdown([judge(claim) if claim is failing else Judgment(claim, []) for claim in CLAIMS.values()])
    assert "FAILED: AssertionError: no longer so" in page
    assert Judgment(failing, judge(failing).outcomes).verdict is Verdict.UNDECIDED


@pytest.mark.slow
def test_two_processes_find_in_order_what_one_finds():
    few = [CLAIMS[claim_id] for claim_id in ("table-5", "eq-16", "table-6", "table-5")]
    judgments = list(judge_all(few))
    assert [judgment.claim for judgment in judgments] == few
    for judgment in judgments:
        alone = judge(judgment.claim)
        assert [(o.evidence, o.finding, o.failure) for o in judgment.outcomes] == [
            (o.evidence, o.finding, o.failure) for o in alone.outcomes
        ]
        assert judgment.seconds > 0


def test_what_processes_send_each_other_names_the_failure(monkeypatch):
    failing = dataclasses.replace(CLAIMS["table-6"], evidence=[])

    def broken():
        raise AssertionError("no longer so")

    failing.check(Role.REFUTED, "exact")(broken)
    monkeypatch.setitem(CLAIMS, "table-6", failing)
    ((finding,), (failure,), _) = findings("table-6")
    assert (finding, failure) == ("", "AssertionError: no longer so")


@cache
def _is_ours(file: str) -> bool:
    """Code of this checkout, not of a virtual environment inside it, and not what all evidence goes through."""
    module = Path(file)
    return module.is_relative_to(CHECKOUT) and "site-packages" not in module.parts and module.name not in MACHINERY


def calls_of(evidence):
    """The project's functions that a check calls, its own inner ones aside."""
    own, seen = evidence.run.__code__.co_filename, set()

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and _is_ours(code.co_filename):
            inner = code.co_filename == own and "<locals>" in code.co_qualname
            if not inner and code is not evidence.run.__code__ and "<lambda>" not in code.co_qualname:
                function = code.co_qualname.partition(".<locals>")[0]
                seen.add(f"{Path(code.co_filename).relative_to(CHECKOUT)}:{function}")

    sys.setprofile(note)
    try:
        evidence.run()
    finally:
        sys.setprofile(None)
    return seen - READING


CHECKOUT = Path(__file__).parents[1]
# Text, strengths and files to tables, and the machinery around a check: they carry no mathematics of a claim.
MACHINERY = {"strategies.py", "solver.py", "preferences.py", "matrices.py", "tables.py", "pairs.py", "evidence.py"}
READING = {f"theory/exact.py:{name}" for name in ("fractions", "preferences", "uniform", "bradley_terry")} | {
    "theory/comparisons.py:load_wins"
}


def independent(one, other):
    """Whether two traced checks differ in kind, share no function, and do not both use inspo.objectives."""
    (kind, calls), (other_kind, other_calls) = one, other
    both_through_objectives = all(any("objectives.py" in call for call in seen) for seen in (calls, other_calls))
    return kind != other_kind and not calls & other_calls and not both_through_objectives


DECIDING = [
    pytest.param(claim, role, id=f"{claim.id}: {role.name.lower()}")
    for claim in CLAIMS.values()
    for role in Role
    if role is not Role.INSTEAD and any(evidence.role is role for evidence in claim.evidence)
]


@pytest.mark.slow
@pytest.mark.parametrize(("claim", "role"), DECIDING)
def test_two_kinds_of_deciding_evidence_share_no_function(claim, role, monkeypatch):
    deciding = [e for e in claim.evidence if e.role is role and e.kind not in UNCOUNTED]
    # Tracing is slow, and a search has as much to do at a glance as ever.
    cheapest_first = sorted(deciding, key=lambda evidence: (evidence.kind == "search", run(evidence).seconds))
    monkeypatch.setenv("THEORY_PROFILE", "glance")
    traced = []
    for evidence in cheapest_first:
        traced.append((evidence.kind, calls_of(evidence)))
        if any(independent(traced[-1], earlier) for earlier in traced[:-1]):
            return
    pytest.fail(f"all evidence hangs together: {traced}")
