(** Section 3 of the paper for every finite set T of responses (so for every K = #|T|)
    and over any ordered field R, in which all probabilities lie. No axiom is used.

    mu is the reference policy, P i j the probability that response i is preferred to j,
    A i j stands for psi (P i j), and a policy's pi i j is its probability of response i
    when it is shown the comparator j. *)

From mathcomp Require Import all_ssreflect all_algebra.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Games.
Variables (R : realFieldType) (T : finType).
Implicit Types (mu p q : T -> R) (A P pi : T -> T -> R) (i j k : T).

Definition distribution p := (forall i, 0 <= p i) /\ \sum_i p i = 1.
Definition full_support mu := (forall i, 0 < mu i) /\ \sum_i mu i = 1.
Definition preference P := forall i j, P i j + P j i = 1.

(** A policy that sees its comparator j; one that does not. *)
Definition policy pi := forall j, distribution (fun i => pi i j).
Definition prompt_only p := fun i j : T => p i.

(** The paper's V(pi): the comparator is drawn from mu, the response from pi(. | j). *)
Definition value mu A pi := \sum_j mu j * (\sum_i pi i j * A i j).

(** pi* and pi_bar. *)
Definition best_policy mu A pi :=
  policy pi /\ forall pi', policy pi' -> value mu A pi' <= value mu A pi.
Definition best_prompt_only mu A p :=
  distribution p /\
  forall p', distribution p' -> value mu A (prompt_only p') <= value mu A (prompt_only p).

(** i is a best response to j; i is a best response to every comparator. *)
Definition best_response A i j := forall k, A k j <= A i j.
Definition common_best_response A i := forall j, best_response A i j.

(* --- averages --- *)

Lemma terms_zero (f : T -> R) : (forall i, 0 <= f i) -> \sum_i f i = 0 -> forall i, f i = 0.
Proof. by move=> f0 zero i; apply: (psumr_eq0P _ zero). Qed.

Lemma full_distribution mu : full_support mu -> distribution mu.
Proof. by case=> pos one; split=> // i; apply/ltW. Qed.

Lemma mean_le p (f : T -> R) c : distribution p -> (forall i, f i <= c) -> \sum_i p i * f i <= c.
Proof.
case=> p0 p1 fc; rewrite -[leRHS]mul1r -p1 mulr_suml.
by apply: ler_sum => i _; rewrite ler_wpmul2l.
Qed.

Lemma mean_const p c : distribution p -> \sum_i p i * c = c.
Proof. by case=> _ p1; rewrite -mulr_suml p1 mul1r. Qed.

Lemma mean_tight p (f : T -> R) c : distribution p -> (forall i, f i <= c) ->
  \sum_i p i * f i = c -> forall i, 0 < p i -> f i = c.
Proof.
move=> dp fc tight i pi0.
have zero : \sum_k p k * (c - f k) = 0.
  under eq_bigr do rewrite mulrBr.
  by rewrite sumrB (mean_const _ dp) tight subrr.
have terms k : 0 <= p k * (c - f k).
  by rewrite mulr_ge0 ?subr_ge0 //; case: dp.
have /eqP := terms_zero terms zero i.
by rewrite mulf_eq0 gt_eqF //= subr_eq0 => /eqP.
Qed.

(* --- the two optima --- *)

Definition champion A j := [arg max_(i > j) A i j]%O.
Definition vstar mu A := \sum_j mu j * A (champion A j) j.
Definition score mu A i := \sum_j mu j * A i j.
Definition point k : T -> R := fun i => (i == k)%:R.

Lemma champion_best A j : best_response A (champion A j) j.
Proof. by move=> k; rewrite /champion; case: arg_maxP => //= i _; apply. Qed.

Lemma point_distribution k : distribution (point k).
Proof.
split=> [i|]; first exact: ler0n.
by rewrite (bigD1 k) //= /point eqxx big1 ?addr0 // => i /negPf ->.
Qed.

Lemma mean_point k (f : T -> R) : \sum_i point k i * f i = f k.
Proof.
rewrite (bigD1 k) //= /point eqxx mul1r big1 ?addr0 // => i /negPf ->.
exact: mul0r.
Qed.

Lemma value_prompt_only mu A p : value mu A (prompt_only p) = \sum_i p i * score mu A i.
Proof.
rewrite /value /prompt_only /score.
under eq_bigr do rewrite mulr_sumr.
rewrite exchange_big; apply: eq_bigr => i _; rewrite mulr_sumr.
by apply: eq_bigr => j _; rewrite mulrCA.
Qed.

Lemma value_le_vstar mu A pi : distribution mu -> policy pi -> value mu A pi <= vstar mu A.
Proof.
case=> mu0 _ pol; apply: ler_sum => j _; rewrite ler_wpmul2l //.
exact/(mean_le (pol j))/champion_best.
Qed.

Lemma value_champion mu A : value mu A (fun i j => point (champion A j) i) = vstar mu A.
Proof. by apply: eq_bigr => j _; rewrite mean_point. Qed.

Lemma best_policy_value mu A pi : distribution mu -> best_policy mu A pi ->
  value mu A pi = vstar mu A.
Proof.
move=> dmu [pol best]; apply/le_anti; rewrite value_le_vstar //= -value_champion.
by apply: best => j; apply: point_distribution.
Qed.

Lemma best_prompt_only_ge mu A p i : best_prompt_only mu A p ->
  score mu A i <= value mu A (prompt_only p).
Proof.
case=> _ best; have := best _ (point_distribution i).
by rewrite value_prompt_only mean_point.
Qed.

(** [Sec. 2 and Eq. (5)] Both optima exist: a best policy with the comparator in view,
    and a best one without. T is not empty. *)
Theorem optima_exist mu A (i0 : T) : distribution mu ->
  (exists pi, best_policy mu A pi) /\ (exists p, best_prompt_only mu A p).
Proof.
move=> dmu; split.
- exists (fun i j => point (champion A j) i); split=> [j|pi pol]; first exact: point_distribution.
  by rewrite value_champion value_le_vstar.
- exists (point [arg max_(i > i0) score mu A i]%O).
  split=> [|p dp]; first exact: point_distribution.
  rewrite !value_prompt_only mean_point; apply: mean_le => // i.
  by case: arg_maxP => //= k _; apply.
Qed.

(** [Thm 3.2 (ii)] V(pi_bar) <= V(pi-star), for every table A = psi(P), whatever psi. *)
Theorem prompt_only_at_most_optimal mu A pi p :
  best_policy mu A pi -> best_prompt_only mu A p ->
  value mu A (prompt_only p) <= value mu A pi.
Proof. by case=> _ best [dp _]; apply: best => j. Qed.

(** [Thm 3.2 (ii), when equal] Under a reference of full support the two values are equal
    exactly when one response is a best response to every comparator. *)
Theorem no_gap_iff_common_best_response mu A pi p :
  full_support mu -> best_policy mu A pi -> best_prompt_only mu A p ->
  (value mu A (prompt_only p) = value mu A pi <-> exists i, common_best_response A i).
Proof.
move=> fmu bpi bp; have dmu := full_distribution fmu.
have vpi := best_policy_value dmu bpi; split=> [same|[i common]].
- have [p0 p1] := bp.1.
  have score_le i : score mu A i <= vstar mu A.
    rewrite -vpi -same; exact: best_prompt_only_ge.
  have [i pi0] : exists i, 0 < p i.
    apply/existsP; apply: contraT; rewrite negb_exists => /forallP none.
    suff : \sum_i p i = 0 by rewrite p1 => /eqP; rewrite oner_eq0.
    by apply: big1 => i _; apply/eqP; rewrite eq_le p0 andbT leNgt.
  have top : score mu A i = vstar mu A.
    apply: (mean_tight bp.1 score_le) => //.
    by rewrite -value_prompt_only same.
  exists i => j k; apply: le_trans (champion_best A j k) _; rewrite -subr_le0.
  have zero : \sum_j mu j * (A (champion A j) j - A i j) = 0.
    under eq_bigr do rewrite mulrBr.
    by rewrite sumrB -/(vstar mu A) -/(score mu A i) top subrr.
  have terms j' : 0 <= mu j' * (A (champion A j') j' - A i j').
    by rewrite mulr_ge0 ?subr_ge0 ?champion_best //; case: dmu.
  have /eqP := terms_zero terms zero j.
  by rewrite mulf_eq0 gt_eqF ?fmu.1 //= => /eqP ->.
- apply/le_anti; rewrite (prompt_only_at_most_optimal bpi bp) /= vpi.
  apply: le_trans (best_prompt_only_ge i bp).
  apply: ler_sum => j _; rewrite ler_wpmul2l ?common //; by case: dmu.
Qed.

(** [Thm 3.2 (i), who is optimal] A policy is optimal exactly when, against every comparator
    that the reference gives, all that it answers are best responses. *)
Theorem optimal_iff_best_responses mu A pi :
  distribution mu -> policy pi ->
  (best_policy mu A pi <->
   forall i j, 0 < mu j -> 0 < pi i j -> best_response A i j).
Proof.
move=> dmu pol; have [mu0 mu1] := dmu.
have col j : \sum_i pi i j * A i j <= A (champion A j) j.
  exact/(mean_le (pol j))/champion_best.
split=> [bpi i j muj pij k|supp].
- have := best_policy_value dmu bpi => tight.
  have zero : \sum_j mu j * (A (champion A j) j - \sum_i pi i j * A i j) = 0.
    under eq_bigr do rewrite mulrBr.
    by rewrite sumrB -/(vstar mu A) -/(value mu A pi) tight subrr.
  have terms j' : 0 <= mu j' * (A (champion A j') j' - \sum_i pi i j' * A i j').
    by rewrite mulr_ge0 ?subr_ge0 ?col.
  have /eqP := terms_zero terms zero j.
  rewrite mulf_eq0 gt_eqF //= subr_eq0 eq_sym => /eqP colE.
  have Ac i' : A i' j <= A (champion A j) j by apply: champion_best.
  by rewrite (mean_tight (pol j) Ac colE pij) champion_best.
- split=> // pi' pol'; apply: le_trans (value_le_vstar A dmu pol') _.
  apply: ler_sum => j _; have [->|muj] := eqVneq (mu j) 0; first by rewrite !mul0r.
  have {}muj : 0 < mu j by rewrite lt_def muj mu0.
  rewrite ler_wpmul2l // -(mean_const (A (champion A j) j) (pol j)).
  apply: ler_sum => i _; have [p0 _] := pol j.
  have [->|pij] := eqVneq (pi i j) 0; first by rewrite !mul0r.
  by rewrite ler_wpmul2l // supp // lt_def pij p0.
Qed.

(** [Thm 3.2 (i)] The set of optimal policies is the same for any two strictly increasing
    psi and any two references with the same support. *)
Theorem optima_invariant mu mu' P (psi psi' : R -> R) pi :
  distribution mu -> distribution mu' -> (forall j, (0 < mu j) = (0 < mu' j)) ->
  (forall x y, (psi x <= psi y) = (x <= y)) ->
  (forall x y, (psi' x <= psi' y) = (x <= y)) ->
  (best_policy mu (fun i j => psi (P i j)) pi <->
   best_policy mu' (fun i j => psi' (P i j)) pi).
Proof.
move=> dmu dmu' same inc inc'.
have one_way m m' (f f' : R -> R) : distribution m -> distribution m' ->
    (forall j, (0 < m j) = (0 < m' j)) ->
    (forall x y, (f x <= f y) = (x <= y)) -> (forall x y, (f' x <= f' y) = (x <= y)) ->
    best_policy m (fun i j => f (P i j)) pi -> best_policy m' (fun i j => f' (P i j)) pi.
  move=> dm dm' supp incf incf' best; have pol := best.1.
  apply/(optimal_iff_best_responses _ dm' pol) => i j mj pij k.
  have := (optimal_iff_best_responses (fun i j => f (P i j)) dm pol).1 best i j.
  by rewrite supp => /(_ mj pij k); rewrite incf incf'.
by split; apply: one_way => // j; rewrite same.
Qed.

(** [Thm 3.2 (i), as the paper has it] For a psi that is merely non-decreasing, a policy
    that answers with best responses by P is still optimal (others may be so too). *)
Theorem best_responses_optimal_if_nondecreasing mu P (psi : R -> R) pi :
  distribution mu -> policy pi -> (forall x y, x <= y -> psi x <= psi y) ->
  (forall i j, 0 < mu j -> 0 < pi i j -> best_response P i j) ->
  best_policy mu (fun i j => psi (P i j)) pi.
Proof.
move=> dmu pol inc supp; apply/optimal_iff_best_responses => // i j muj pij k.
exact/inc/supp.
Qed.

(** [Thm 3.2 (iii)] If psi(P) is a function of the response plus one of the comparator,
    nothing is gained by seeing the comparator. *)
Theorem separable_no_gap mu (a b : T -> R) pi p :
  let A := fun i j => a i + b j in
  distribution mu -> best_policy mu A pi -> best_prompt_only mu A p ->
  value mu A (prompt_only p) = value mu A pi.
Proof.
move=> A dmu bpi bp; apply/le_anti; rewrite (prompt_only_at_most_optimal bpi bp) /=.
rewrite (best_policy_value dmu bpi).
have [k kp] : exists k, forall i, a i <= a k.
  have [i _] : exists i, 0 < mu i.
    apply/existsP; apply: contraT; rewrite negb_exists => /forallP none; case: dmu => mu0 mu1.
    suff : \sum_i mu i = 0 by rewrite mu1 => /eqP; rewrite oner_eq0.
    by apply: big1 => i _; apply/eqP; rewrite eq_le mu0 andbT leNgt.
  by exists [arg max_(k > i) a k]%O => k; case: arg_maxP => //= k' _; apply.
apply: le_trans (best_prompt_only_ge k bp).
by apply: ler_sum => j _; rewrite ler_wpmul2l ?ler_add2r //; case: dmu.
Qed.

(* --- near separable tables --- *)

(** The prompt-only policy that answers as pi does on average over comparators. *)
Definition averaged mu pi := fun i => \sum_j mu j * pi i j.

Lemma averaged_distribution mu pi : distribution mu -> policy pi -> distribution (averaged mu pi).
Proof.
move=> [mu0 mu1] pol; split=> [i|].
  by apply: sumr_ge0 => j _; rewrite mulr_ge0 //; case: (pol j).
rewrite exchange_big -[RHS]mu1; apply: eq_bigr => j _.
by rewrite -mulr_sumr; case: (pol j) => _ ->; rewrite mulr1.
Qed.

Lemma distribution_le1 p i : distribution p -> p i <= 1.
Proof. by move=> [p0 p1]; rewrite -p1 (bigD1 i) //= ler_addl sumr_ge0. Qed.

Lemma abs_difference (x y : R) : 0 <= x <= 1 -> 0 <= y <= 1 -> `|x - y| <= x + y - (x * y) *+ 2.
Proof.
have half (u v : R) : 0 <= u <= 1 -> 0 <= v <= 1 -> u - v <= u + v - (u * v) *+ 2.
  move=> /andP[u0 u1] /andP[v0 v1].
  rewrite -addrA ler_add2l ler_subr_addr addrC -ler_subr_addr opprK -mulr2n ler_pmuln2r //.
  by rewrite ler_pimull.
move=> x01 y01; rewrite ler_norml half // andbT ler_oppl opprB.
by rewrite [x + y]addrC [x * y]mulrC half.
Qed.

(* what a policy gains by its comparator over its own average, term by term *)
Lemma gain_over_average mu A pi : distribution mu -> policy pi ->
  value mu A pi - value mu A (prompt_only (averaged mu pi)) =
  \sum_j mu j * (\sum_i (pi i j - averaged mu pi i) * A i j).
Proof.
move=> _ _; rewrite -sumrB; apply: eq_bigr => j _; rewrite -mulrBr -sumrB; congr (_ * _).
by apply: eq_bigr => i _; rewrite mulrBl.
Qed.

Lemma separable_part mu pi (a b : T -> R) : distribution mu -> policy pi ->
  \sum_j mu j * (\sum_i (pi i j - averaged mu pi i) * (a i + b j)) = 0.
Proof.
move=> dmu pol; have [mu0 mu1] := dmu; have [q0 q1] := averaged_distribution dmu pol.
have column j : \sum_i (pi i j - averaged mu pi i) * (a i + b j) =
    \sum_i (pi i j * a i) - \sum_i (averaged mu pi i * a i).
  under eq_bigr do rewrite mulrDr.
  rewrite big_split /= -mulr_suml sumrB q1; case: (pol j) => _ ->; rewrite subrr mul0r addr0.
  by rewrite -sumrB; apply: eq_bigr => i _; rewrite mulrBl.
under eq_bigr do rewrite column mulrBr.
rewrite sumrB -mulr_suml mu1 mul1r; apply/eqP; rewrite subr_eq0; apply/eqP.
under eq_bigr do rewrite mulr_sumr.
rewrite exchange_big; apply: eq_bigr => i _; rewrite /averaged mulr_suml.
by apply: eq_bigr => j _; rewrite mulrA.
Qed.

Lemma gain_bound mu A pi (a b : T -> R) eps : distribution mu -> policy pi ->
  (forall i j, `|A i j - a i - b j| <= eps) ->
  value mu A pi - value mu A (prompt_only (averaged mu pi)) <=
  2%:R * eps * (1 - \sum_i (averaged mu pi i) ^+ 2).
Proof.
move=> dmu pol near; have dq := averaged_distribution dmu pol; pose q := averaged mu pi.
have [mu0 mu1] := dmu; have [q0 q1] := dq.
have -> : value mu A pi - value mu A (prompt_only q) = \sum_j (mu j * (\sum_i (pi i j - q i) * A i j) -
    mu j * (\sum_i (pi i j - q i) * (a i + b j))).
  by rewrite gain_over_average // sumrB separable_part // subr0.
have column j : \sum_i (pi i j - q i) * A i j - \sum_i (pi i j - q i) * (a i + b j) <=
    eps * 2%:R * (1 - \sum_i pi i j * q i).
  rewrite -sumrB.
  have -> : eps * 2%:R * (1 - \sum_i pi i j * q i) =
            \sum_i (pi i j + q i - (pi i j * q i) *+ 2) * eps.
    rewrite -mulr_suml sumrB big_split /= sumrMnl q1; case: (pol j) => _ ->.
    by rewrite -[1 + 1]mulr2n -mulrnBl -[(1 - _) *+ 2]mulr_natr mulrC [eps * _]mulrC mulrA.
  apply: ler_sum => i _; rewrite -mulrBr opprD addrA.
  apply: le_trans (ler_norm _) _; rewrite normrM.
  have p01 : 0 <= pi i j <= 1 by rewrite (distribution_le1 i (pol j)) andbT; case: (pol j).
  have q01 : 0 <= q i <= 1 by rewrite (distribution_le1 i dq) q0.
  have le := abs_difference p01 q01.
  apply: le_trans (ler_wpmul2r (normr_ge0 _) le) _.
  by rewrite ler_wpmul2l // (le_trans (normr_ge0 _) le).
apply: le_trans (_ : \sum_j mu j * (eps * 2%:R * (1 - \sum_i pi i j * q i)) <= _).
  by apply: ler_sum => j _; rewrite -mulrBr ler_wpmul2l.
rewrite le_eqVlt; apply/orP; left; apply/eqP.
under eq_bigr do rewrite mulrCA.
rewrite -mulr_sumr [2%:R * eps]mulrC; congr (_ * _).
under eq_bigr do rewrite mulrBr mulr1 mulr_sumr.
rewrite sumrB mu1 exchange_big; congr (_ - _); apply: eq_bigr => i _.
rewrite expr2 -[X in _ = X * _]/(\sum_j mu j * pi i j) mulr_suml; apply: eq_bigr => j _.
by rewrite mulrA.
Qed.

Lemma squares_ge q (i0 : T) : distribution q -> (#|T|)%:R^-1 <= \sum_i q i ^+ 2.
Proof.
move=> [q0 q1]; pose c : R := (#|T|)%:R^-1.
have K0 : (#|T|)%:R != 0 :> R by rewrite pnatr_eq0 -lt0n; apply/card_gt0P; exists i0.
have : 0 <= \sum_i (q i - c) ^+ 2 by apply: sumr_ge0 => i _; rewrite sqr_ge0.
under eq_bigr do rewrite sqrrB.
have squares : \sum_(i : T) c ^+ 2 = c by rewrite sumr_const -mulr_natr expr2 -mulrA mulVf ?mulr1.
rewrite big_split sumrB /= sumrMnl -mulr_suml q1 mul1r squares.
by rewrite mulr2n opprD addrA subrK subr_ge0.
Qed.

(** [Thm 3.2 (iii), nearly separable] If psi(P) lies within eps of a function of the response
    plus one of the comparator, seeing the comparator gains at most 2 eps (1 - 1/K); more
    precisely at most 2 eps times the probability that two answers of pi-star differ. *)
Theorem nearly_separable_gap mu A pi p (a b : T -> R) eps :
  distribution mu -> best_policy mu A pi -> best_prompt_only mu A p -> 0 <= eps ->
  (forall i j, `|A i j - a i - b j| <= eps) ->
  value mu A pi - value mu A (prompt_only p) <=
    2%:R * eps * (1 - \sum_i (\sum_j mu j * pi i j) ^+ 2) /\
  value mu A pi - value mu A (prompt_only p) <= 2%:R * eps * (1 - (#|T|)%:R^-1).
Proof.
move=> dmu [pol _] [_ best] eps0 near.
have dq := averaged_distribution dmu pol.
have first : value mu A pi - value mu A (prompt_only p) <=
    2%:R * eps * (1 - \sum_i (averaged mu pi i) ^+ 2).
  apply: le_trans (gain_bound dmu pol near); rewrite ler_add2l ler_opp2; exact: best.
split=> //; apply: le_trans first _; apply: ler_wpmul2l; first by rewrite mulr_ge0 ?ler0n.
rewrite ler_add2l ler_opp2.
have [i0 _] : exists i, 0 < mu i.
  apply/existsP; apply: contraT; rewrite negb_exists => /forallP none; case: dmu => mu0 mu1.
  suff : \sum_i mu i = 0 by rewrite mu1 => /eqP; rewrite oner_eq0.
  by apply: big1 => i _; apply/eqP; rewrite eq_le mu0 andbT leNgt.
exact: squares_ge.
Qed.

(* --- when one response is best against all --- *)

Lemma halves : 2%:R^-1 + 2%:R^-1 = 1 :> R.
Proof. by rewrite -mulr2n -[_ *+ 2]mulr_natr mulVf // pnatr_eq0. Qed.

Lemma self_half P j : preference P -> P j j = 2%:R^-1.
Proof.
move=> pref; have two : 2%:R != 0 :> R by rewrite pnatr_eq0.
by apply: (mulIf two); rewrite mulVf // mulr_natr mulr2n; apply: pref.
Qed.

(** [Sec. 3.1] Under strong stochastic transitivity (if a beats b and b beats c, then a beats c
    at least as clearly as either) some response is a best response to all. T is not empty. *)
Theorem strong_transitivity_suffices P (i0 : T) :
  preference P ->
  (forall a b c, 2%:R^-1 <= P a b -> 2%:R^-1 <= P b c -> P a b <= P a c /\ P b c <= P a c) ->
  exists i, common_best_response P i.
Proof.
move=> pref sst; pose beats a b := 2%:R^-1 <= P a b.
have total a b : ~~ beats a b -> beats b a.
  rewrite /beats -ltNge => lt; have -> : P b a = 1 - P a b by rewrite -(pref b a) addrK.
  by rewrite ler_subr_addr -[X in _ <= X]halves ler_add2l ltW.
have trans a b c : beats a b -> beats b c -> beats a c.
  by move=> ab bc; have [le _] := sst a b c ab bc; apply: le_trans le.
have [i win] : exists i, forall j, beats i j.
  exists [arg max_(i > i0) #|[set j | beats i j]|]%N; case: arg_maxnP => //= i _ most j.
  apply: contraT => not; have ji := total _ _ not.
  suff : (#|[set k | beats i k]| < #|[set k | beats j k]|)%N by rewrite ltnNge most.
  apply: proper_card; apply/properP; split.
    by apply/subsetP => k; rewrite !inE; apply: trans.
  exists j; last by rewrite inE.
  by rewrite inE; apply: contraT => loses; rewrite -(negbTE loses) total.
exists i => j k; have [kj|not] := boolP (beats k j).
  by have [] := sst i k j (win k) kj.
by apply: le_trans (win j); rewrite ltW // ltNge.
Qed.

(** [Sec. 3.2, K = 2] With two responses there is a best response to all, so never a gap, for
    any non-decreasing psi. *)
Theorem two_responses_never_gap P (psi : R -> R) :
  #|T| = 2%N -> preference P -> (forall x y, x <= y -> psi x <= psi y) ->
  exists i, common_best_response (fun i j => psi (P i j)) i.
Proof.
move=> two pref inc.
have half j : P j j = 2%:R^-1 by apply: self_half.
have [x [y xy]] : exists x y, forall z : T, z = x \/ z = y.
  move: two; rewrite cardE; case E : (enum T) => [|x [|y []]] // _.
  exists x, y => z; have : z \in enum T by rewrite mem_enum.
  by rewrite E !inE => /orP[]/eqP ->; [left|right].
have best a b : P b a <= P a b -> (forall z : T, z = a \/ z = b) -> common_best_response P a.
  move=> le all.
  have ge : 2%:R^-1 <= P a b.
    by rewrite -(half a) -(ler_pmuln2r (isT : (0 < 2)%N)) [P a a *+ 2]mulr2n pref -(pref a b) mulr2n ler_add2l.
  have small : P b a <= 2%:R^-1.
    by rewrite -(half a) -(ler_pmuln2r (isT : (0 < 2)%N)) [P a a *+ 2]mulr2n pref -(pref a b) mulr2n ler_add2r.
  by move=> j k; have [->|->] := all j; have [->|->] := all k; rewrite ?half.
have [le|/ltW le] := leP (P y x) (P x y).
- by exists x => j k; apply: inc; apply: (best x y le xy).
- have yx z : z = y \/ z = x by have [] := xy z; [right|left].
  by exists y => j k; apply: inc; apply: (best y x le yx).
Qed.

(* --- which psi matters to a prompt-only policy --- *)

(** The probability, over comparators, that response i reaches level t. *)
Definition reach mu A i (t : R) := \sum_j mu j * (t <= A i j)%R%:R.

(* one level after another: max (f, x1) differs from f by psi x1 - psi x0 where f is below x1 *)
Lemma levels (psi : R -> R) mu (s : seq R) x0 (f g : T -> R) : distribution mu ->
  (forall x y, x <= y -> psi x <= psi y) -> path <=%R x0 s ->
  (forall j, f j \in x0 :: s) -> (forall j, g j \in x0 :: s) ->
  (forall t, \sum_j mu j * (t <= g j)%R%:R <= \sum_j mu j * (t <= f j)%R%:R) ->
  \sum_j mu j * psi (g j) <= \sum_j mu j * psi (f j).
Proof.
move=> dmu mono; elim: s x0 f g => [|x1 s IH] x0 f g.
  move=> _ fs gs _; rewrite le_eqVlt; apply/orP; left; apply/eqP/eq_bigr => j _.
  by move: (fs j) (gs j); rewrite !inE => /eqP -> /eqP ->.
move=> /= /andP[x01 sorted] fs gs dom.
pose up (h : T -> R) j := Num.max (h j) x1.
have split_ (h : T -> R) : (forall j, h j \in x0 :: x1 :: s) ->
    (forall j, up h j \in x1 :: s) /\
    \sum_j mu j * psi (h j) =
    \sum_j mu j * psi (up h j) - (psi x1 - psi x0) * (1 - \sum_j mu j * (x1 <= h j)%R%:R).
  move=> hs; split=> [j|].
    rewrite /up; case: leP => [_|lt]; first by rewrite mem_head.
    by move: (hs j); rewrite inE => /orP[/eqP e|//]; move: lt; rewrite e ltNge x01.
  rewrite -{1}dmu.2 -sumrB mulr_sumr -sumrB; apply: eq_bigr => j _; rewrite /up.
  have [ge|lt] := leP x1 (h j); first by rewrite mulr1 subrr mulr0 subr0.
  rewrite mulr0 subr0; have -> : h j = x0.
    move: (hs j) lt; rewrite !inE => /or3P[/eqP ->//|/eqP ->|hin]; first by rewrite ltxx.
    move: sorted; rewrite path_sortedE; last exact: le_trans.
    by case/andP=> /allP/(_ _ hin); rewrite leNgt => /negPf ->.
  by rewrite [(_ - _) * _]mulrC -mulrBr opprB addrC subrK.
have [fu fE] := split_ f fs; have [gu gE] := split_ g gs.
have dom' t : \sum_j mu j * (t <= up g j)%R%:R <= \sum_j mu j * (t <= up f j)%R%:R.
  have [tle|tgt] := leP t x1.
    by under eq_bigr do rewrite /up le_maxr tle orbT; under [leRHS]eq_bigr do rewrite /up le_maxr tle orbT.
  have same (h : T -> R) : \sum_j mu j * (t <= up h j)%R%:R = \sum_j mu j * (t <= h j)%R%:R.
    by apply: eq_bigr => j _; rewrite /up le_maxr [t <= x1]leNgt tgt orbF.
  by rewrite !same.
rewrite fE gE ler_sub //; first exact: (IH x1).
by rewrite ler_wpmul2l ?subr_ge0 ?mono // ler_add2l ler_opp2.
Qed.

(** [Prop. 3.1, the other side] If one response reaches every level at least as often as another,
    it scores no less for every non-decreasing psi. *)
Theorem dominance_orders_all_scores mu A i k (psi : R -> R) : distribution mu ->
  (forall x y, x <= y -> psi x <= psi y) -> (forall t, reach mu A k t <= reach mu A i t) ->
  score mu (fun i j => psi (A i j)) k <= score mu (fun i j => psi (A i j)) i.
Proof.
move=> dmu mono dom; pose s := sort <=%R ([seq A i j | j : T] ++ [seq A k j | j : T]).
have in_s x : (x \in s) = (x \in [seq A i j | j : T]) || (x \in [seq A k j | j : T]).
  by rewrite mem_sort mem_cat.
have sorted_s : sorted <=%R s by apply: sort_sorted => x y; apply: le_total.
case E : s => [|x0 s']; last first.
  apply: (@levels psi mu s' x0) => // [|j|j]; first by rewrite -/(sorted _ (x0 :: s')) -E.
  - by rewrite -E in_s map_f ?mem_enum.
  - by rewrite -E in_s [X in _ || X]map_f ?orbT ?mem_enum.
have : A i i \in s by rewrite in_s map_f ?mem_enum.
by rewrite E.
Qed.

(** [Prop. 3.1, the other side, in return] If at some level it falls short of another, that one
    scores more for some strictly increasing psi. *)
Theorem failing_dominance_has_a_psi mu A i k t : distribution mu ->
  reach mu A i t < reach mu A k t ->
  exists psi : R -> R, (forall x y, x < y -> psi x < psi y) /\
    score mu (fun i j => psi (A i j)) i < score mu (fun i j => psi (A i j)) k.
Proof.
move=> dmu short; pose d := reach mu A k t - reach mu A i t.
have d0 : 0 < d by rewrite subr_gt0.
pose e := score mu A k - score mu A i; pose c := d / (`|e| + 1).
have e0 : 0 < `|e| + 1 by rewrite ltr_paddl.
have c0 : 0 < c by rewrite divr_gt0.
exists (fun x => (t <= x)%R%:R + c * x); split=> [x y xy|].
  rewrite ler_lt_add ?ltr_pmul2l //.
  by have [tx|_] := leP t x; [rewrite (le_trans tx (ltW xy))|rewrite ler0n].
have scoreE l : score mu (fun i j => (t <= A i j)%R%:R + c * A i j) l = reach mu A l t + c * score mu A l.
  rewrite /score /reach mulr_sumr -big_split; apply: eq_bigr => j _.
  by rewrite mulrDr mulrCA.
rewrite !scoreE -subr_gt0 opprD addrACA -mulrBr -/d -/e.
have : c * `|e| < d.
  by rewrite /c mulrAC ltr_pdivr_mulr // ltr_pmul2l // ltr_addl ltr01.
rewrite -subr_gt0 => /lt_le_trans; apply; rewrite ler_add2l -mulrN ler_pmul2l //.
by rewrite ler_oppl ler_normr lexx orbT.
Qed.

(* --- a table scaled from both sides by one vector --- *)

(** [Thm 4.1, Eq. (9): antisymmetric rewards] For a table B of positive entries (mu_i times
    exp(L_ij / 2 beta)) at most one positive vector q makes every column of q_i B_ij q_j sum to
    one: no two antisymmetric rewards have a Gibbs policy that minimizes Eq. (9). *)
Theorem scaling_is_unique (B : T -> T -> R) q q' k :
  (forall i j, 0 < B i j) -> (forall i, 0 < q i) -> (forall i, 0 < q' i) ->
  (forall j, \sum_i q i * B i j * q j = 1) -> (forall j, \sum_i q' i * B i j * q' j = 1) ->
  q k = q' k.
Proof.
move=> B0 q0 p0 qE pE; pose x i := q i / q' i.
have x0 i : 0 < x i by rewrite divr_gt0.
have xE i : q i = x i * q' i by rewrite divfK // gt_eqF.
have columnE j : \sum_i x i * x j * (q' i * B i j * q' j) = 1.
  by rewrite -(qE j); apply: eq_bigr => i _; rewrite !xE mulrACA !mulrA; congr (_ * _ * _ * _); rewrite mulrAC.
pose a := [arg max_(i > k) x i]%O; pose b := [arg min_(i < k) x i]%O.
have ge i : x i <= x a by rewrite /a; case: arg_maxP => // m _; apply.
have le i : x b <= x i by rewrite /b; case: arg_minP => // m _; apply.
have term0 i j : 0 < q' i * B i j * q' j by rewrite !mulr_gt0.
have low : x b * x a <= 1.
  rewrite -(columnE a) -[leLHS]mulr1 -(pE a) mulr_sumr; apply: ler_sum => i _.
  by rewrite ler_pmul2r // ler_pmul2r.
have same : x a = x b.
  have zero : \sum_i (x a * x b - x i * x b) * (q' i * B i b * q' b) = x a * x b - 1.
    under eq_bigr do rewrite mulrBl.
    by rewrite sumrB columnE -mulr_sumr pE mulr1.
  have terms i : 0 <= (x a * x b - x i * x b) * (q' i * B i b * q' b).
    by apply: mulr_ge0; [rewrite subr_ge0 ler_pmul2r|apply/ltW].
  have total : \sum_i (x a * x b - x i * x b) * (q' i * B i b * q' b) = 0.
    by apply/le_anti; rewrite sumr_ge0 // andbT zero subr_le0 mulrC.
  have /eqP := terms_zero terms total b.
  by rewrite mulf_eq0 (gt_eqF (term0 b b)) orbF -mulrBl mulf_eq0 (gt_eqF (x0 b)) orbF subr_eq0 => /eqP.
have xk : x k = x a by apply/le_anti; rewrite ge same le.
have one : x a * x a = 1.
  transitivity (\sum_i x a * x a * (q' i * B i a * q' a)); first by rewrite -mulr_sumr pE mulr1.
  rewrite -(columnE a); apply: eq_bigr => i _; congr (_ * _ * _).
  by apply/le_anti; rewrite ge same le.
have /eqP : x a ^+ 2 = 1 by rewrite expr2.
rewrite sqrf_eq1 => /orP[/eqP e|/eqP e]; first by rewrite xE xk e mul1r.
by have := x0 a; rewrite e oppr_gt0 ltr10.
Qed.

(* --- Farkas' lemma and the minimax theorem, over any ordered field --- *)

(* Either g is a combination of the functionals in s with weights of at least 0, or some x has
   all of s at most 0 and g above 0. By induction, after Bartl. *)
Section Farkas.
Variable D : finType.
Implicit Types (f g x : D -> R).

Definition dot f x := \sum_d f d * x d.

Lemma dotB f g x c : dot (fun d => f d - c * g d) x = dot f x - c * dot g x.
Proof.
rewrite /dot mulr_sumr -sumrB; apply: eq_bigr => d _.
by rewrite mulrBl mulrA.
Qed.

Lemma dot_shift f x y c : dot f (fun d => x d - c * y d) = dot f x - c * dot f y.
Proof.
rewrite /dot mulr_sumr -sumrB; apply: eq_bigr => d _.
by rewrite mulrBr mulrCA.
Qed.

Lemma farkas n (a : 'I_n -> D -> R) g :
  (exists u : 'I_n -> R, (forall k : 'I_n, 0 <= u k) /\ forall d, g d = \sum_(k < n) u k * a k d) \/
  (exists x, (forall k : 'I_n, dot (a k) x <= 0) /\ 0 < dot g x).
Proof.
elim: n a g => [|n IH] a g.
  have [/forallP zero|] := boolP [forall d, g d == 0].
    by left; exists (fun=> 0); split=> // d; rewrite big_ord0; apply/eqP/zero.
  rewrite negb_forall => /existsP[d gd]; right; exists g; split=> [[]//|].
  rewrite /dot (bigD1 d) //=; apply: ltr_paddr; last by rewrite -expr2 lt_def sqrf_eq0 gd sqr_ge0.
  by apply: sumr_ge0 => e _; rewrite -expr2 sqr_ge0.
pose last := ord_max : 'I_n.+1; pose a' (k : 'I_n) := a (widen_ord (leqnSn n) k).
have split_all (Q : 'I_n.+1 -> Prop) : (forall k : 'I_n, Q (widen_ord (leqnSn n) k)) -> Q last -> forall k : 'I_n.+1, Q k.
  move=> Qk Ql k; have [lt|ge] := ltnP k n.
    by have -> : k = widen_ord (leqnSn n) (Ordinal lt) by apply: val_inj.
  by have -> : k = last by apply: val_inj; apply/eqP; rewrite eqn_leq -ltnS ltn_ord.
have [[u [u0 uE]]|[x0 [ax0 gx0]]] := IH a' g.
  left; exists (fun k : 'I_n.+1 => if insub (val k) is Some k' then u k' else 0); split=> [k|d].
    by case: insubP => // k' _ _.
  rewrite big_ord_recr /= insubF ?ltnn // mul0r addr0 uE; apply: eq_bigr => k _.
  by rewrite insubT //= => lt; congr (u _ * _); apply: val_inj.
have [le|pos] := leP (dot (a last) x0) 0.
  by right; exists x0; split=> //; apply: split_all.
pose c := dot (a last) x0; have c0 : c != 0 by rewrite gt_eqF.
pose b (k : 'I_n) d := a' k d - dot (a' k) x0 / c * a last d.
pose g' d := g d - dot g x0 / c * a last d.
have [[u [u0 uE]]|[x [bx gx]]] := IH b g'.
- left; pose t := (dot g x0 - \sum_(k < n) u k * dot (a' k) x0) / c.
  exists (fun k : 'I_n.+1 => if insub (val k) is Some k' then u k' else t); split=> [k|d].
    case: insubP => // _; rewrite divr_ge0 ?(ltW pos) // subr_ge0.
    apply: le_trans (ltW gx0); rewrite -oppr_ge0 -sumrN; apply: sumr_ge0 => k' _.
    by rewrite -mulrN mulr_ge0 // oppr_ge0.
  rewrite big_ord_recr /= insubF ?ltnn //.
  have -> : g d = g' d + dot g x0 / c * a last d by rewrite /g' subrK.
  rewrite uE /t mulrBl mulrBl [RHS]addrCA [LHS]addrC; congr (_ + _).
  have -> : \sum_(k < n) u k * b k d =
      \sum_(k < n) u k * a' k d - (\sum_(k < n) u k * dot (a' k) x0) / c * a last d.
    rewrite !mulr_suml -sumrB; apply: eq_bigr => k _.
    by rewrite /b mulrBr !mulrA.
  congr (_ - _); apply: eq_bigr => k _.
  by rewrite insubT //= => lt; congr (u _ * _); apply: val_inj.
- right; exists (fun d => x d - dot (a last) x / c * x0 d).
  have shift f : dot f (fun d => x d - dot (a last) x / c * x0 d) =
      dot (fun d => f d - dot f x0 / c * a last d) x.
    rewrite dot_shift dotB; congr (_ - _).
    by rewrite mulrAC [RHS]mulrAC [dot (a last) x * _]mulrC.
  split; last by rewrite shift.
  apply: split_all => [k|]; rewrite shift; first exact: bx.
  by rewrite dotB -/c divff // mul1r subrr.
Qed.
End Farkas.

Lemma farkas_on (D K : finType) (a : K -> D -> R) (g : D -> R) :
  (exists u : K -> R, (forall k : K, 0 <= u k) /\ forall d, g d = \sum_(k : K) u k * a k d) \/
  (exists x, (forall k : K, dot (a k) x <= 0) /\ 0 < dot g x).
Proof.
have [[u [u0 uE]]|[x [ax gx]]] := farkas (fun k : 'I_#|K| => a (enum_val k)) g; [left|right].
- exists (fun k : K => u (enum_rank k)); split=> // d; rewrite uE.
  rewrite [RHS](reindex (fun i : 'I_#|K| => enum_val i)) /=.
    by apply: eq_bigr => k _; rewrite enum_valK.
  by exists enum_rank => ? _; rewrite ?enum_valK ?enum_rankK.
- exists x; split=> // k; have := ax (enum_rank k); by rewrite enum_rankK.
Qed.

(* two mixed answers, each as good as any against the other: von Neumann *)
Lemma saddle (M : T -> T -> R) (t0 : T) :
  exists p q, distribution p /\ distribution q /\
    forall i j, \sum_j' q j' * M i j' <= \sum_i' p i' * M i' j.
Proof.
pose D := (T * T + bool)%type; pose K := (T + T + T * T)%type.
pose a (k : K) (d : D) : R := match k, d with
  | inl (inl i'), inl ij => M i' ij.2
  | inl (inl i'), inr b => b%:R
  | inl (inr j'), inl ij => - M ij.1 j'
  | inl (inr j'), inr b => (~~ b)%:R
  | inr kl, inl ij => - (ij == kl)%:R
  | inr kl, inr b => 0
  end.
pose g (d : D) : R := if d is inr _ then 1 else 0.
have bool_sum (f : bool -> R) : \sum_b f b = f true + f false.
  by rewrite (bigD1 true) //= (big_pred1 false) // => -[].
have [[u [u0 uE]]|[x [ax gx]]] := farkas_on a g.
- exists (fun i => u (inl (inl i))), (fun j => u (inl (inr j))).
  have sumE d : g d = \sum_i u (inl (inl i)) * a (inl (inl i)) d +
      \sum_j u (inl (inr j)) * a (inl (inr j)) d + \sum_kl u (inr kl) * a (inr kl) d.
    by rewrite uE !big_sumType.
  split; [split=> //|split; [split=> //|]].
  + have := sumE (inr true); rewrite /g /a /= => ->.
    rewrite [X in _ + X + _]big1 => [|j _]; last by rewrite mulr0.
    rewrite [X in _ + _ + X]big1 => [|j _]; last by rewrite mulr0.
    by rewrite !addr0; apply: eq_bigr => i _; rewrite mulr1.
  + have := sumE (inr false); rewrite /g /a /= => ->.
    rewrite [X in X + _ + _]big1 => [|j _]; last by rewrite mulr0.
    rewrite [X in _ + _ + X]big1 => [|j _]; last by rewrite mulr0.
    by rewrite add0r addr0; apply: eq_bigr => i _; rewrite mulr1.
  + move=> i j; have := sumE (inl (i, j)); rewrite /g /a /=.
    rewrite (bigD1 (i, j)) //= eqxx [X in _ + (_ + X)]big1 => [|kl /negPf kl']; last first.
      by rewrite eq_sym kl' oppr0 mulr0.
    rewrite addr0 mulrN1.
    have -> : \sum_j0 u (inl (inr j0)) * - M i j0 = - \sum_j0 u (inl (inr j0)) * M i j0.
      by rewrite -sumrN; apply: eq_bigr => ? _; rewrite mulrN.
    move=> e; rewrite -subr_ge0 -[X in _ <= X](subrK (u (inr (i, j)))) -e add0r; exact: u0.
- have pairs (F : T * T -> R) : \sum_d F d = \sum_k \sum_l F (k, l).
    by rewrite pair_big; apply: eq_bigr => -[].
  pose w i j := x (inl (i, j)); pose al := x (inr true); pose be := x (inr false).
  have w0 i j : 0 <= w i j.
    have := ax (inr (i, j)); rewrite /dot big_sumType /= [X in _ + X]big1 => [|b _]; last by rewrite mul0r.
    rewrite addr0 (bigD1 (i, j)) //= eqxx big1 => [|kl /negPf ->]; last by rewrite oppr0 mul0r.
    by rewrite addr0 mulN1r oppr_le0.
  pose A i := \sum_j w i j; pose B j := \sum_i w i j.
  have A0 i : 0 <= A i by apply: sumr_ge0 => j _.
  have B0 j : 0 <= B j by apply: sumr_ge0 => i _.
  have rowE i : \sum_j M i j * B j + al <= 0.
    have := ax (inl (inl i)); rewrite /dot big_sumType bool_sum /= mul1r mul0r addr0.
    rewrite pairs /= exchange_big /=.
    by under eq_bigr do rewrite -mulr_sumr.
  have colE j : - (\sum_i A i * M i j) + be <= 0.
    have := ax (inl (inr j)); rewrite /dot big_sumType bool_sum /= mul0r mul1r add0r.
    rewrite pairs /=.
    have -> : \sum_i \sum_j0 - M i j * x (inl (i, j0)) = - (\sum_i A i * M i j) => //.
    by rewrite -sumrN; apply: eq_bigr => i _; rewrite -mulr_sumr mulNr mulrC.
  have AB : \sum_i A i = \sum_j B j by rewrite exchange_big.
  have rows : \sum_i A i * (\sum_j M i j * B j + al) <= 0.
    by rewrite -oppr_ge0 -sumrN; apply: sumr_ge0 => i _; rewrite -mulrN mulr_ge0 // oppr_ge0.
  have cols : \sum_j B j * (- (\sum_i A i * M i j) + be) <= 0.
    by rewrite -oppr_ge0 -sumrN; apply: sumr_ge0 => j _; rewrite -mulrN mulr_ge0 // oppr_ge0.
  have sum_ab : 0 < al + be.
    by move: gx; rewrite /dot big_sumType bool_sum /= big1 => [|d _]; rewrite ?mul0r ?mul1r ?add0r.
  have tot : (\sum_i A i) * (al + be) <= 0.
    have <- : \sum_i A i * (\sum_j M i j * B j + al) + \sum_j B j * (- (\sum_i A i * M i j) + be) =
              (\sum_i A i) * (al + be).
      under eq_bigr do rewrite mulrDr; under [X in _ + X]eq_bigr do rewrite mulrDr mulrN.
      rewrite !big_split /= -!mulr_suml -AB mulrDr sumrN.
      have -> : \sum_j B j * (\sum_i A i * M i j) = \sum_i A i * (\sum_j M i j * B j).
        under eq_bigr do rewrite mulr_sumr; under [RHS]eq_bigr do rewrite mulr_sumr.
        rewrite exchange_big; apply: eq_bigr => i _; apply: eq_bigr => j _.
        by rewrite mulrC -mulrA.
      by rewrite addrACA subrr add0r.
    by rewrite (le_trans (ler_add rows cols)) ?addr0.
  have W0 : \sum_i A i = 0.
    by apply/le_anti; rewrite sumr_ge0 // andbT -(pmulr_lle0 _ sum_ab).
  have Az i : A i = 0 by apply: (terms_zero _ W0).
  have Bz j : B j = 0 by apply: (terms_zero B0); rewrite -AB.
  have := rowE t0; rewrite big1 => [|j _]; last by rewrite Bz mulr0.
  have := colE t0; rewrite big1 => [|i _]; last by rewrite Az mul0r.
  rewrite oppr0 !add0r => be0 al0; move: sum_ab; rewrite ltNge -[X in _ <= X]addr0 ler_add //.
Qed.

(** How much prompt-only p loses against comparator j to a best response to j. *)
Definition regret A p j := A (champion A j) j - \sum_i p i * A i j.

Lemma mean_regret mu A p :
  \sum_j mu j * regret A p j = vstar mu A - value mu A (prompt_only p).
Proof.
rewrite /vstar /value -sumrB; apply: eq_bigr => j _.
by rewrite /regret mulrBr.
Qed.

(** [Sec. 3.2, the other side] The most that seeing the comparator can gain, over references,
    equals the least regret, in its worst comparator, that a prompt-only policy can have: some
    reference attains it and some prompt-only policy, which knows no reference, has no more
    regret against any comparator. T is not empty. *)
Theorem second_mover_value_is_minimax_regret A (i0 : T) :
  exists mu p v, distribution mu /\ distribution p /\
  (forall pi pb, best_policy mu A pi -> best_prompt_only mu A pb ->
    value mu A pi - value mu A (prompt_only pb) = v) /\
  (forall mu' pi pb, distribution mu' -> best_policy mu' A pi -> best_prompt_only mu' A pb ->
    value mu' A pi - value mu' A (prompt_only pb) <= v) /\
  (forall j, regret A p j <= v) /\
  (forall p', distribution p' -> exists j, v <= regret A p' j).
Proof.
have [p [q [dp [dq saddled]]]] := saddle (fun i j => A i j - A (champion A j) j) i0.
have [_ [pb0 bpb0]] := optima_exist A i0 dq.
pose v := vstar q A - value q A (prompt_only pb0).
have regret_le j : regret A p j <= v.
  rewrite /v value_prompt_only ler_subr_addl -ler_subr_addr.
  apply: mean_le => [|i]; first by case: bpb0.
  rewrite ler_subr_addl -ler_subr_addr -ler_opp2 !opprB /regret.
  have := saddled i j.
  have -> : \sum_j' q j' * (A i j' - A (champion A j') j') = score q A i - vstar q A.
    by rewrite /score /vstar -sumrB; apply: eq_bigr => ? _; rewrite mulrBr.
  have -> : \sum_i' p i' * (A i' j - A (champion A j) j) = \sum_i' p i' * A i' j - A (champion A j) j.
    by under eq_bigr do rewrite mulrBr; rewrite sumrB mean_const.
  by [].
exists q, p, v; do 2!split=> //; split=> [pi pb bpi bpb|].
  rewrite (best_policy_value dq bpi) /v; congr (_ - _); apply/le_anti.
  by have [d b] := bpb; have [d0 b0] := bpb0; rewrite b0 // b.
split=> [mu' pi pb dmu' bpi [_ bpb]|].
  rewrite (best_policy_value dmu' bpi).
  apply: le_trans (_ : vstar mu' A - value mu' A (prompt_only p) <= _).
    by rewrite ler_add2l ler_opp2 bpb.
  by rewrite -mean_regret; apply: mean_le.
split=> // p' dp'; exists [arg max_(j > i0) regret A p' j]%O.
apply: le_trans (_ : \sum_j q j * regret A p' j <= _).
  by rewrite mean_regret /v ler_add2l ler_opp2; case: bpb0 => _; apply.
apply: mean_le => // j; by case: arg_maxP => //= k _; apply.
Qed.

End Games.

(** [Thm 3.2 (iii), nearly separable: sharp] For every K >= 3 the bound 2 eps (1 - 1/K) is
    attained: on a circle each response beats the one before it for sure and the others are
    even; psi is a step, which is non-decreasing. *)
Theorem nearly_separable_gap_attained (R : realFieldType) n (eps : R) : 0 <= eps ->
  exists (P : 'Z_n.+3 -> 'Z_n.+3 -> R) (psi : R -> R) (mu : 'Z_n.+3 -> R),
  preference P /\ (forall x y, x <= y -> psi x <= psi y) /\ full_support mu /\
  (forall i j, `|psi (P i j) - 0 - 0| <= eps) /\
  forall pi p, best_policy mu (fun i j => psi (P i j)) pi ->
    best_prompt_only mu (fun i j => psi (P i j)) p ->
    value mu (fun i j => psi (P i j)) pi - value mu (fun i j => psi (P i j)) (prompt_only p) =
      2%:R * eps * (1 - n.+3%:R^-1).
Proof.
move=> eps0; pose K : R := n.+3%:R; have K0 : K != 0 by rewrite pnatr_eq0.
pose P (i j : 'Z_n.+3) : R := if i == j + 1 then 1 else if j == i + 1 then 0 else 2%:R^-1.
pose psi (x : R) := if 1 <= x then eps else - eps.
pose mu (i : 'Z_n.+3) : R := K^-1.
have half_lt : 2%:R^-1 < 1 :> R by rewrite invf_lt1 ?ltr1n ?ltr0n.
have psiE i j : psi (P i j) = if i == j + 1 then eps else - eps.
  rewrite /psi /P; case: eqP => _; first by rewrite lexx.
  by case: eqP => _; rewrite leNgt ?ltr01 ?half_lt.
have fmu : full_support mu.
  split=> [i|]; first by rewrite invr_gt0 ltr0n.
  by rewrite sumr_const card_ord -mulr_natr mulVf.
have dmu := full_distribution fmu.
exists P, psi, mu; split=> [i j|].
  rewrite /P; case: (eqVneq i (j + 1)) => [->|ij].
    have -> : (j == j + 1 + 1) = false.
      by rewrite -addrA -{1}[j]addr0 (inj_eq (addrI j)) -val_eqE /= !modn_small.
    by rewrite /= addr0.
  case: (eqVneq j (i + 1)) => [_|ji]; first by rewrite add0r.
  by rewrite halves.
split=> [x y xy|]; first rewrite /psi.
  case: (leP 1 x) => [x1|_]; first by rewrite (le_trans x1 xy).
  by case: ifP => // _; rewrite ge0_cp.
split=> //; split=> [i j|pi p bpi bp].
  by rewrite !subr0 psiE; case: eqP => _; rewrite ?normrN ger0_norm.
rewrite (best_policy_value dmu bpi).
have top j : psi (P (champion (fun i j => psi (P i j)) j) j) = eps.
  apply/le_anti; rewrite {1}psiE; apply/andP; split; first by case: eqP => _ //; rewrite ge0_cp.
  by have := champion_best (fun i j => psi (P i j)) j (j + 1); rewrite {1}psiE eqxx.
have scoreE i : score mu (fun i j => psi (P i j)) i = K^-1 * (eps + (n.+2)%:R * - eps).
  rewrite /score -mulr_sumr; congr (_ * _).
  rewrite (bigD1 (i - 1)) //= psiE subrK eqxx; congr (_ + _).
  rewrite (eq_bigr (fun=> - eps)) => [|j ji]; last first.
    by rewrite psiE; case: eqP => // e; move: ji; rewrite e addrK eqxx.
  by rewrite sumr_const cardC1 card_ord mulr_natl.
have vs : vstar mu (fun i j => psi (P i j)) = eps.
  rewrite -[RHS](mean_const eps dmu); apply: eq_bigr => j _.
  by rewrite top.
rewrite vs value_prompt_only; under eq_bigr do rewrite scoreE.
rewrite mean_const; last by case: bp.
have -> : K^-1 * (eps + n.+2%:R * - eps) = eps * (2%:R * K^-1 - 1).
  have -> : n.+2%:R = K - 1 by rewrite /K -[n.+3]addn1 natrD addrK.
  rewrite mulrBl mul1r opprK mulrN addrCA -mulr2n mulrDr mulrN mulrA mulVf // mul1r.
  rewrite mulrBr mulr1 [RHS]addrC; congr (_ + _).
  by rewrite -[eps *+ 2]mulr_natr mulrCA [K^-1 * _]mulrC.
have -> : eps - eps * (2%:R * K^-1 - 1) = eps * (1 - (2%:R * K^-1 - 1)) by rewrite [RHS]mulrBr mulr1.
rewrite [2%:R * eps]mulrC -mulrA opprB addrA -[1 + 1]mulr2n; congr (_ * _).
by rewrite [RHS]mulrBr mulr1.
Qed.
