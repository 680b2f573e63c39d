(** Sections 2 and 4 of the paper for every finite set T of responses (so for every K = #|T|),
    over the real numbers of Coq's standard library, with its exp and ln.

    mu is the reference policy, P i j the probability that response i is preferred to j, and
    pi i j a policy's probability of response i when it is shown the comparator j. Policies
    that are trained have full support, as softmax gives it. *)

From mathcomp Require Import ssreflect ssrfun ssrbool eqtype ssrnat seq choice fintype bigop.
From Coq Require Import Reals Lra.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Local Open Scope R_scope.

(* --- finite sums of real numbers --- *)

Definition RplusA x y z : x + (y + z) = x + y + z := esym (Rplus_assoc x y z).
Definition RmultA x y z : x * (y * z) = x * y * z := esym (Rmult_assoc x y z).
Canonical Rplus_law := Monoid.Law RplusA Rplus_0_l Rplus_0_r.
Canonical Rplus_comlaw := Monoid.ComLaw Rplus_comm.
Canonical Rmult_law := Monoid.Law RmultA Rmult_1_l Rmult_1_r.
Canonical Rmult_mullaw := Monoid.MulLaw Rmult_0_l Rmult_0_r.
Definition RmultDl x y z : (x + y) * z = x * z + y * z := Rmult_plus_distr_r x y z.
Canonical Rplus_addlaw := Monoid.AddLaw RmultDl Rmult_plus_distr_l.

Notation "\sum_ i F" := (\big[Rplus/0]_i F) : R_scope.
Notation "\sum_ ( i : t ) F" := (\big[Rplus/0]_(i : t) F) (only parsing) : R_scope.
Notation "\sum_ ( i | C ) F" := (\big[Rplus/0]_(i | C) F) : R_scope.

Section Sums.
Variable T : finType.
Implicit Types (C : pred T) (f g : T -> R).

Lemma sumD C f g : \sum_(i | C i) (f i + g i) = \sum_(i | C i) f i + \sum_(i | C i) g i.
Proof. exact: big_split. Qed.

Lemma sumZ C c f : \sum_(i | C i) (c * f i) = c * \sum_(i | C i) f i.
Proof. by rewrite big_distrr. Qed.

Lemma sum_le C f g : (forall i, C i -> f i <= g i) -> \sum_(i | C i) f i <= \sum_(i | C i) g i.
Proof.
move=> le; apply: (big_ind2 (fun x y => x <= y)) => // [|x x' y y' ? ?]; lra.
Qed.

Lemma sum_pick C f i : C i -> \sum_(k | C k) f k = f i + \sum_(k | C k && (k != i)) f k.
Proof. by move=> ?; rewrite (bigD1 i). Qed.

Lemma sum_all f i : \sum_k f k = f i + \sum_(k | k != i) f k.
Proof. by rewrite (bigD1 i). Qed.

Lemma sum_ge0 C f : (forall i, C i -> 0 <= f i) -> 0 <= \sum_(i | C i) f i.
Proof.
move=> ge; apply: (big_ind (fun x => 0 <= x)) => // [|x y ? ?]; lra.
Qed.

(* sums of larger terms are larger, and equal only if all terms are *)
Lemma sum_tight C f g : (forall i, C i -> f i <= g i) ->
  \sum_(i | C i) f i = \sum_(i | C i) g i -> forall i, C i -> f i = g i.
Proof.
move=> le same i Ci; move: same; rewrite (sum_pick _ Ci) (sum_pick g Ci) => same.
have rest : \sum_(k | C k && (k != i)) f k <= \sum_(k | C k && (k != i)) g k.
  by apply: sum_le => k /andP[Ck _]; apply: le.
have := le i Ci; lra.
Qed.

Lemma swap_pairs (F : T -> T -> R) :
  \sum_j \sum_(i | i != j) F i j = \sum_j \sum_(i | i != j) F j i.
Proof.
rewrite (exchange_big_dep predT) //=; apply: eq_bigr => j _.
by apply: eq_bigl => i; rewrite eq_sym.
Qed.

End Sums.

(* --- exp, ln and the logistic function --- *)

Definition sigma z := / (1 + exp (- z)).
Definition logit q := ln (q / (1 - q)).

Lemma ln_div x y : 0 < x -> 0 < y -> ln (x / y) = ln x - ln y.
Proof. by move=> x0 y0; rewrite ln_mult ?ln_Rinv //; apply: Rinv_0_lt_compat. Qed.

Lemma ln_inj_pos x y : 0 < x -> 0 < y -> ln x = ln y -> x = y.
Proof. by move=> x0 y0 e; rewrite -(exp_ln x) // -(exp_ln y) // e. Qed.

Lemma ln_le_sub x : 0 < x -> ln x <= x - 1 /\ (ln x = x - 1 -> x = 1).
Proof.
move=> x0; have [e|ne] := Req_dec (ln x) 0.
- have -> : x = 1 by apply: ln_inj_pos; rewrite ?ln_1 //; lra.
  by rewrite ln_1; split; lra.
- have := exp_ineq1 _ ne; rewrite exp_ln // => lt; split; lra.
Qed.

(* p log q/p <= q - p, with equality at p = q alone; p may be 0 *)
Lemma entropy_term p q : 0 <= p -> 0 < q ->
  p * (ln q - ln p) <= q - p /\ (p * (ln q - ln p) = q - p -> p = q).
Proof.
move=> p0 q0; have [->|pne] := Req_dec p 0; first by split; lra.
have {}p0 : 0 < p by lra.
have [le eq] := ln_le_sub (Rdiv_lt_0_compat _ _ q0 p0).
have back : p * (q / p - 1) = q - p by field.
rewrite -ln_div // -back; split=> [|same].
- by apply: Rmult_le_compat_l; lra.
- have /eq one : ln (q / p) = q / p - 1 by apply: (Rmult_eq_reg_l p).
  have : q = q / p * p by field.
  by rewrite one; lra.
Qed.

Lemma sigma_range z : 0 < sigma z < 1.
Proof.
rewrite /sigma; have e := exp_pos (- z); split; first by apply: Rinv_0_lt_compat; lra.
by rewrite -Rinv_1; apply: Rinv_lt_contravar; lra.
Qed.

Lemma sigma_opp z : sigma (- z) = 1 - sigma z.
Proof.
have e := exp_pos z; rewrite /sigma Ropp_involutive exp_Ropp; field; lra.
Qed.

Lemma logit_sigma z : logit (sigma z) = z.
Proof.
have e := exp_pos (- z); rewrite /logit.
have -> : sigma z / (1 - sigma z) = / exp (- z) by rewrite /sigma; field; lra.
by rewrite -exp_Ropp ln_exp; lra.
Qed.

Lemma sigma_logit p : 0 < p < 1 -> sigma (logit p) = p.
Proof.
move=> [p0 p1]; rewrite /sigma exp_Ropp exp_ln; first by field; lra.
by apply: Rdiv_lt_0_compat; lra.
Qed.

Lemma logit_opp p : 0 < p < 1 -> logit (1 - p) = - logit p.
Proof.
move=> [p0 p1]; rewrite /logit !ln_div; try lra.
have -> : 1 - (1 - p) = p by lra.
lra.
Qed.

(** What a margin m costs where the first response wins with probability p. *)
Definition logistic_loss p m := - (p * ln (sigma m)) - (1 - p) * ln (sigma (- m)).

(** [Eq. (3), (9), (10)] Against a fixed probability p in (0, 1) the logistic loss is least at
    the margin log p/(1 - p), and nowhere else. *)
Theorem logistic_least_at_log_odds p m : 0 < p < 1 ->
  logistic_loss p (logit p) <= logistic_loss p m /\
  (logistic_loss p m = logistic_loss p (logit p) -> m = logit p).
Proof.
move=> p01; have s01 := sigma_range m.
rewrite /logistic_loss !sigma_opp sigma_logit //.
have [le1 eq1] : p * (ln (sigma m) - ln p) <= sigma m - p /\
    (p * (ln (sigma m) - ln p) = sigma m - p -> p = sigma m) by apply: entropy_term; lra.
have [le2 _] : (1 - p) * (ln (1 - sigma m) - ln (1 - p)) <= 1 - sigma m - (1 - p) /\
    ((1 - p) * (ln (1 - sigma m) - ln (1 - p)) = 1 - sigma m - (1 - p) -> 1 - p = 1 - sigma m).
  by apply: entropy_term; lra.
split=> [|same]; first by lra.
have -> : p = sigma m by apply: eq1; lra.
by rewrite logit_sigma.
Qed.

(* --- policies --- *)

Section Policies.
Variable T : finType.
Implicit Types (mu p : T -> R) (P n pi r : T -> T -> R) (i j k : T).

Definition distribution p := (forall i, 0 <= p i) /\ \sum_i p i = 1.
Definition full_support p := (forall i, 0 < p i) /\ \sum_i p i = 1.
Definition preference P := forall i j, P i j + P j i = 1.
(** Preferences that no pair of different responses has for sure. *)
Definition interior P := preference P /\ forall i j, 0 < P i j < 1.

Definition policy pi := forall j, distribution (fun i => pi i j).
Definition full_policy pi := forall j, full_support (fun i => pi i j).

(** V(pi), for psi = identity. *)
Definition value mu P pi := \sum_j (mu j * \sum_i (pi i j * P i j)).

(** Eq. (7): the reward, less beta times the KL divergence from the reference. *)
Definition objective_7 mu beta r pi :=
  \sum_j (mu j * (\sum_i (pi i j * r i j) - beta * \sum_i (pi i j * ln (pi i j / mu i)))).
Definition maximizes (goal : (T -> T -> R) -> R) pi :=
  policy pi /\ forall pi', policy pi' -> goal pi' <= goal pi.

(** Eq. (11): the Gibbs policy pi_r, with its normalizer Z. *)
Definition Z mu beta r j := \sum_i (mu i * exp (r i j / beta)).
Definition gibbs mu beta r i j := mu i * exp (r i j / beta) / Z mu beta r j.

Lemma Z_gt0 mu beta r j : full_support mu -> 0 < Z mu beta r j.
Proof.
move=> [mu0 _]; rewrite /Z (sum_all _ j).
have term k : 0 < mu k * exp (r k j / beta) by apply: Rmult_lt_0_compat => //; apply: exp_pos.
have rest : 0 <= \sum_(k | k != j) (mu k * exp (r k j / beta)).
  by apply: sum_ge0 => k _; apply/Rlt_le/term.
have := term j; lra.
Qed.

Lemma gibbs_gt0 mu beta r i j : full_support mu -> 0 < gibbs mu beta r i j.
Proof.
move=> fmu; apply: Rdiv_lt_0_compat; last exact: Z_gt0.
by apply: Rmult_lt_0_compat; [case: fmu|apply: exp_pos].
Qed.

Lemma gibbs_sum mu beta r j : full_support mu -> \sum_i gibbs mu beta r i j = 1.
Proof.
move=> fmu; have z0 := Z_gt0 beta r j fmu; rewrite /gibbs.
rewrite (eq_bigr (fun i => / Z mu beta r j * (mu i * exp (r i j / beta)))); last first.
  by move=> i _; rewrite /Rdiv Rmult_comm.
by rewrite sumZ -/(Z mu beta r j); field; lra.
Qed.

Lemma gibbs_full mu beta r : full_support mu -> full_policy (gibbs mu beta r).
Proof. by move=> fmu j; split=> [i|]; [apply: gibbs_gt0|apply: gibbs_sum]. Qed.

Lemma full_policy_policy pi : full_policy pi -> policy pi.
Proof. by move=> full j; have [pos one] := full j; split=> // i; apply/Rlt_le. Qed.

(* one comparator of Eq. (7) *)
Lemma gibbs_column mu beta r p j : full_support mu -> 0 < beta -> distribution p ->
  let column := \sum_i (p i * r i j) - beta * (\sum_i (p i * ln (p i / mu i))) in
  column <= beta * ln (Z mu beta r j) /\
  (column = beta * ln (Z mu beta r j) -> forall i, p i = gibbs mu beta r i j).
Proof.
move=> fmu b0 [p0 p1] column; have z0 := Z_gt0 beta r j fmu.
pose g i := gibbs mu beta r i j.
have g0 i : 0 < g i by apply: gibbs_gt0.
have lng i : ln (g i) = ln (mu i) + r i j / beta - ln (Z mu beta r j).
  have m0 : 0 < mu i by case: fmu.
  have e0 := exp_pos (r i j / beta).
  by rewrite /g /gibbs ln_div ?ln_mult ?ln_exp //; apply: Rmult_lt_0_compat.
pose d i := p i * (ln (g i) - ln (p i)).
have dE : beta * (\sum_i d i) = column - beta * ln (Z mu beta r j).
  have -> : beta * ln (Z mu beta r j) = \sum_i (beta * ln (Z mu beta r j) * p i).
    by rewrite sumZ p1; lra.
  suff -> : column = \sum_i (beta * d i + beta * ln (Z mu beta r j) * p i).
    by rewrite sumD sumZ; lra.
  rewrite /column.
  rewrite /Rminus Ropp_mult_distr_l -sumZ -sumD; apply: eq_bigr => i _; rewrite /d lng.
  have m0 : 0 < mu i by case: fmu.
  have [->|ne] := Req_dec (p i) 0; first by lra.
  rewrite ln_div //; last by have := p0 i; lra.
  by field; lra.
have tot : \sum_i (g i + - 1 * p i) = 0.
  by rewrite sumD sumZ p1 gibbs_sum //; lra.
have terms i : true -> d i <= g i + - 1 * p i.
  by move=> _; have [le _] := entropy_term (p0 i) (g0 i); rewrite /d; lra.
have le := sum_le terms; rewrite tot in le.
split=> [|same i].
- suff : beta * (\sum_i d i) <= 0 by lra.
  have := Rmult_le_compat_l _ _ _ (Rlt_le _ _ b0) le; lra.
- have zero : \sum_i d i = \sum_i (g i + - 1 * p i).
    by rewrite tot; apply: (Rmult_eq_reg_l beta); lra.
  have [_ eq] := entropy_term (p0 i) (g0 i); apply: eq.
  have := sum_tight terms zero (i := i) isT; rewrite /d; lra.
Qed.

(** [Thm 4.1, Eq. (7), (11)] With a reference of full support, a policy maximizes the reward
    less beta times its KL divergence from the reference exactly if it is the Gibbs policy. *)
Theorem gibbs_solves_7 mu beta r pi : full_support mu -> 0 < beta -> policy pi ->
  (maximizes (objective_7 mu beta r) pi <-> forall i j, pi i j = gibbs mu beta r i j).
Proof.
move=> fmu b0 pol.
have le pi' (j : T) : policy pi' -> true ->
    mu j * (\sum_i (pi' i j * r i j) - beta * (\sum_i (pi' i j * ln (pi' i j / mu i)))) <=
    mu j * (beta * ln (Z mu beta r j)).
  move=> pol' _; apply: Rmult_le_compat_l; first by apply/Rlt_le; case: fmu.
  by case: (gibbs_column r j fmu b0 (pol' j)).
have attained pi' : policy pi' -> (forall i j, pi' i j = gibbs mu beta r i j) ->
    objective_7 mu beta r pi' = \sum_j (mu j * (beta * ln (Z mu beta r j))).
  move=> pol' eq; apply: eq_bigr => j _; congr (_ * _).
  rewrite (eq_bigr (fun i => (ln (Z mu beta r j) * beta) * pi' i j +
      beta * (pi' i j * ln (pi' i j / mu i)))); last first.
    move=> i _; have m0 : 0 < mu i by case: fmu.
    have e0 := exp_pos (r i j / beta); have z0 := Z_gt0 beta r j fmu.
    have -> : ln (pi' i j / mu i) = r i j / beta - ln (Z mu beta r j).
      rewrite eq /gibbs.
      have -> : mu i * exp (r i j / beta) / Z mu beta r j / mu i =
                exp (r i j / beta) / Z mu beta r j by field; lra.
      by rewrite ln_div // ln_exp.
    by field; lra.
  by rewrite sumD !sumZ; case: (pol' j) => _ ->; lra.
split=> [[_ best] i j|eq].
- have gpol : policy (gibbs mu beta r) by apply/full_policy_policy/gibbs_full.
  have := best _ gpol; rewrite attained // => ge.
  have same : objective_7 mu beta r pi = \sum_j (mu j * (beta * ln (Z mu beta r j))).
    by apply: Rle_antisym => //; apply: sum_le => j' _; apply: le.
  have [_ unique] := gibbs_column r j fmu b0 (pol j); apply: unique.
  have := sum_tight (fun k => le pi k pol) same (i := j) isT => colE.
  apply: (Rmult_eq_reg_l (mu j)) => //; have [m0 _] := fmu; have := m0 j; lra.
- split=> // pi' pol'; rewrite [X in _ <= X]attained //.
  by apply: sum_le => j _; apply: le.
Qed.

(** [Thm 4.1, Eq. (8)] The reward is beta times the log-ratio of its Gibbs policy to the
    reference, plus beta log Z. *)
Theorem reward_from_gibbs mu beta r i j : full_support mu -> 0 < beta ->
  r i j = beta * (ln (gibbs mu beta r i j / mu i) + ln (Z mu beta r j)).
Proof.
move=> fmu b0; have [m0 _] := fmu; have mi := m0 i.
have e0 := exp_pos (r i j / beta); have z0 := Z_gt0 beta r j fmu.
rewrite /gibbs.
have -> : mu i * exp (r i j / beta) / Z mu beta r j / mu i =
          exp (r i j / beta) / Z mu beta r j by field; lra.
by rewrite ln_div // ln_exp; field; lra.
Qed.

(* --- losses of pairs --- *)

(** How often each pair of different responses is compared: in either order, and not never. *)
Definition every_pair n := forall i j, i != j -> 0 < n i j /\ n i j = n j i.

(** The log-ratio g, and the margins of Eq. (9) and of anchored conditioning. *)
Definition log_ratio mu pi i j := ln (pi i j / mu i).
Definition margin mu beta pi i j := beta * (log_ratio mu pi i j - log_ratio mu pi j i).
Definition anchored_margin mu beta pi i j := beta * (log_ratio mu pi i j - log_ratio mu pi j j).

(** The expected loss of Eq. (9) over compared pairs and their labels, i the preferred one. *)
Definition loss_9 n P mu beta pi :=
  \sum_j \sum_(i | i != j) (n i j * (P i j * - ln (sigma (margin mu beta pi i j)))).

(** Anchored: -log sigma(m(w given l)) - log sigma(-m(l given w)). *)
Definition anchored_loss n P mu beta pi :=
  \sum_j \sum_(i | i != j) (n i j * (P i j *
    (- ln (sigma (anchored_margin mu beta pi i j)) - ln (sigma (- anchored_margin mu beta pi j i))))).

(** The same with IPO's square at strength tau. *)
Definition anchored_square_loss n P mu tau pi :=
  \sum_j \sum_(i | i != j) (n i j * (P i j *
    ((anchored_margin mu 1 pi i j - / (2 * tau)) ^ 2 + (anchored_margin mu 1 pi j i + / (2 * tau)) ^ 2))).

Definition minimizes (loss : (T -> T -> R) -> R) pi :=
  full_policy pi /\ forall pi', full_policy pi' -> loss pi <= loss pi'.

(* A loss that is a positive sum of what single margins cost, each least at its own target
   alone: its minimizers are the policies with these margins, if there is one. *)
Lemma minimizes_iff (loss : (T -> T -> R) -> R) (w : T -> T -> R) (m : (T -> T -> R) -> T -> T -> R)
    (cost : T -> T -> R -> R) (target : T -> T -> R) pi0 pi :
  (forall i j, i != j -> 0 < w i j) ->
  (forall pi, full_policy pi -> loss pi = \sum_j \sum_(i | i != j) (w i j * cost i j (m pi i j))) ->
  (forall i j x, i != j -> cost i j (target i j) <= cost i j x /\
    (cost i j x = cost i j (target i j) -> x = target i j)) ->
  full_policy pi0 -> (forall i j, i != j -> m pi0 i j = target i j) ->
  full_policy pi ->
  (minimizes loss pi <-> forall i j, i != j -> m pi i j = target i j).
Proof.
move=> w0 lossE least full0 m0 full.
pose bayes := \sum_j \sum_(i | i != j) (w i j * cost i j (target i j)).
have term pi' i j : i != j -> w i j * cost i j (target i j) <= w i j * cost i j (m pi' i j).
  move=> ij; apply: Rmult_le_compat_l; first exact/Rlt_le/w0.
  by case: (least i j (m pi' i j) ij).
have column pi' j : true -> \sum_(i | i != j) (w i j * cost i j (target i j)) <=
    \sum_(i | i != j) (w i j * cost i j (m pi' i j)).
  by move=> _; apply: sum_le => i; apply: term.
have at_target pi' : full_policy pi' -> (forall i j, i != j -> m pi' i j = target i j) -> loss pi' = bayes.
  move=> full' eq; rewrite lossE //; apply: eq_bigr => j _; apply: eq_bigr => i ij; by rewrite eq.
split=> [[_ best] i j ij|eq].
- have le := best _ full0; rewrite (at_target pi0) // lossE // in le.
  have same : bayes = \sum_j \sum_(i | i != j) (w i j * cost i j (m pi i j)).
    by apply: Rle_antisym => //; apply: sum_le => k; apply: column.
  have col := sum_tight (column pi) same (i := j) isT.
  have cell := sum_tight (fun k kj => term pi k j kj) col ij.
  have [_ unique] := least i j (m pi i j) ij; apply: unique.
  by apply: (Rmult_eq_reg_l (w i j)) => //; have := w0 i j ij; lra.
- split=> // pi' full'; rewrite (at_target pi) // lossE //.
  by apply: sum_le => j; apply: column.
Qed.

Lemma logistic_target P i j x : interior P ->
  logistic_loss (P i j) (logit (P i j)) <= logistic_loss (P i j) x /\
  (logistic_loss (P i j) x = logistic_loss (P i j) (logit (P i j)) -> x = logit (P i j)).
Proof. by move=> [_ inn]; apply: logistic_least_at_log_odds. Qed.

Lemma preference_opp P i j : preference P -> P j i = 1 - P i j.
Proof. by move=> pref; have := pref i j; lra. Qed.

Lemma logit_antisymmetric P i j : interior P -> logit (P j i) = - logit (P i j).
Proof. by move=> [pref inn]; rewrite (preference_opp i j pref) logit_opp. Qed.

Lemma loss_9E n P mu beta pi : every_pair n -> preference P ->
  loss_9 n P mu beta pi =
  \sum_j \sum_(i | i != j) (n i j / 2 * logistic_loss (P i j) (margin mu beta pi i j)).
Proof.
move=> np pref.
pose F i j := n i j * (P i j * - ln (sigma (margin mu beta pi i j))).
have twice : loss_9 n P mu beta pi = / 2 * (\sum_j \sum_(i | i != j) (F i j + F j i)).
  rewrite (eq_bigr (fun j => \sum_(i | i != j) F i j + \sum_(i | i != j) F j i)); last first.
    by move=> j _; rewrite sumD.
  rewrite sumD -(swap_pairs F) -/(loss_9 n P mu beta pi) /F /loss_9; lra.
rewrite twice -sumZ; apply: eq_bigr => j _; rewrite -sumZ; apply: eq_bigr => i ij.
have [_ sym] := np i j ij.
have anti : margin mu beta pi j i = - margin mu beta pi i j by rewrite /margin; lra.
rewrite /F -sym anti (preference_opp i j pref) /logistic_loss; lra.
Qed.

Lemma anchored_lossE n P mu beta pi : every_pair n -> preference P ->
  anchored_loss n P mu beta pi =
  \sum_j \sum_(i | i != j) (n i j * logistic_loss (P i j) (anchored_margin mu beta pi i j)).
Proof.
move=> np pref; rewrite /anchored_loss.
pose F i j := n i j * (P i j * - ln (sigma (anchored_margin mu beta pi i j))).
pose G i j := n i j * (P i j * - ln (sigma (- anchored_margin mu beta pi j i))).
transitivity (\sum_j \sum_(i | i != j) F i j + \sum_j \sum_(i | i != j) G i j).
  rewrite -sumD; apply: eq_bigr => j _; rewrite -sumD; apply: eq_bigr => i _.
  by rewrite /F /G; lra.
rewrite (swap_pairs G) -sumD; apply: eq_bigr => j _; rewrite -sumD; apply: eq_bigr => i ij.
have [_ sym] := np i j ij.
rewrite /F /G -sym (preference_opp i j pref) /logistic_loss; lra.
Qed.

(** beta = 2 b: the policies pi(i | j) = mu_i exp(L_ij / 2b) s for i != j, s small *)
Definition part mu beta P i j := mu i * exp (logit (P i j) / (2 * beta)).
Definition small mu beta P := / (1 + \sum_j \sum_i part mu beta P i j).
Definition one_minimizer mu beta P i j :=
  if i == j then 1 - small mu beta P * (\sum_(k | k != j) part mu beta P k j)
  else small mu beta P * part mu beta P i j.

Lemma part_gt0 mu beta P i j : full_support mu -> 0 < part mu beta P i j.
Proof. by move=> [m0 _]; apply: Rmult_lt_0_compat => //; apply: exp_pos. Qed.

Lemma one_minimizer_full mu beta P : full_support mu -> full_policy (one_minimizer mu beta P).
Proof.
move=> fmu j.
have p0 i k : 0 < part mu beta P i k by apply: part_gt0.
have col k : 0 <= \sum_i part mu beta P i k by apply: sum_ge0 => i _; apply/Rlt_le/p0.
have all_ge : 0 <= \sum_k \sum_i part mu beta P i k by apply: sum_ge0.
have s0 : 0 < small mu beta P by apply: Rinv_0_lt_compat; lra.
have room : small mu beta P * (\sum_(k | k != j) part mu beta P k j) < 1.
  rewrite -(Rinv_l (1 + \sum_k \sum_i part mu beta P i k)); last by lra.
  apply: Rmult_lt_compat_l => //.
  have : \sum_i part mu beta P i j <= \sum_k \sum_i part mu beta P i k.
    rewrite [X in _ <= X](sum_all _ j).
    have : 0 <= \sum_(k | k != j) \sum_i part mu beta P i k by apply: sum_ge0.
    lra.
  by rewrite (sum_all _ j); have := p0 j j; lra.
split=> [i|].
- rewrite /one_minimizer; case: eqP => _; first by lra.
  exact: Rmult_lt_0_compat.
- rewrite (sum_all _ j) /one_minimizer eqxx.
  rewrite [X in _ + X](eq_bigr (fun i => small mu beta P * part mu beta P i j)); last by move=> i /negPf ->.
  by rewrite sumZ; lra.
Qed.

Lemma one_minimizer_margin mu beta P i j : full_support mu -> 0 < beta -> interior P -> i != j ->
  margin mu beta (one_minimizer mu beta P) i j = logit (P i j).
Proof.
move=> fmu b0 inn ij; have [m0 _] := fmu.
have [full_j _] := one_minimizer_full beta P fmu j.
have s0 : 0 < small mu beta P.
  have := full_j i; rewrite /one_minimizer (negPf ij) => pos.
  have := part_gt0 beta P i j fmu => q0.
  have [//|neg] := Rlt_le_dec 0 (small mu beta P).
  have := Rmult_le_compat_r _ _ _ (Rlt_le _ _ q0) neg; lra.
rewrite /margin /log_ratio /one_minimizer (negPf ij) eq_sym (negPf ij) /part.
have lnE k l : ln (small mu beta P * (mu k * exp (logit (P k l) / (2 * beta))) / mu k) =
    ln (small mu beta P) + logit (P k l) / (2 * beta).
  have mk := m0 k; have e0 := exp_pos (logit (P k l) / (2 * beta)).
  have -> : small mu beta P * (mu k * exp (logit (P k l) / (2 * beta))) / mu k =
            small mu beta P * exp (logit (P k l) / (2 * beta)) by field; lra.
  by rewrite ln_mult // ln_exp.
by rewrite !lnE (logit_antisymmetric i j inn); field; lra.
Qed.

(** [Thm 4.1, Eq. (9)] Eq. (9) has minimizers, and a policy is one exactly if every margin is
    the log-odds of its pair: the loss says nothing else about the policy. *)
Theorem minimizers_of_9 n P mu beta pi :
  every_pair n -> interior P -> full_support mu -> 0 < beta -> full_policy pi ->
  (exists pi0, minimizes (loss_9 n P mu beta) pi0) /\
  (minimizes (loss_9 n P mu beta) pi <->
   forall i j, i != j -> margin mu beta pi i j = logit (P i j)).
Proof.
move=> np inn fmu b0 full; have [pref _] := inn.
have iff pi' := minimizes_iff (loss := loss_9 n P mu beta) (w := fun i j => n i j / 2)
  (m := margin mu beta) (cost := fun i j => logistic_loss (P i j))
  (target := fun i j => logit (P i j)) (pi0 := one_minimizer mu beta P) (pi := pi').
have {}iff pi' : full_policy pi' -> (minimizes (loss_9 n P mu beta) pi' <->
   forall i j, i != j -> margin mu beta pi' i j = logit (P i j)).
  move=> full'; apply: iff => // [i j ij|pi'' _|i j x _||i j ij].
  - by have [] := np i j ij; lra.
  - exact: loss_9E.
  - exact: logistic_target.
  - exact: one_minimizer_full.
  - exact: one_minimizer_margin.
split; last exact: iff.
exists (one_minimizer mu beta P); apply/iff; first exact: one_minimizer_full.
by move=> i j; apply: one_minimizer_margin.
Qed.

(** With probability c as pi, else a copy of the comparator. *)
Definition mixed_with_copying c pi i j := c * pi i j + (1 - c) * (if i == j then 1 else 0).

(** [Sec. 2, Eq. (3): DPO's margins] Some prompt-only policy has the log-odds of every pair as
    its margins, as would be the least of DPO's loss, exactly if Bradley-Terry scores give P. *)
Theorem prompt_only_margins_need_bradley_terry P mu beta :
  interior P -> full_support mu -> 0 < beta ->
  ((exists p, full_support p /\
    forall i j, beta * (ln (p i / mu i) - ln (p j / mu j)) = logit (P i j)) <->
   exists s, forall i j, P i j = sigma (s i - s j)).
Proof.
move=> [_ in01] fmu b0; split=> [[p [_ eq]]|[s eq]].
  exists (fun i => beta * ln (p i / mu i)) => i j.
  by rewrite -(sigma_logit (in01 i j)) -eq; congr sigma; lra.
have [t _|none] := pickP (fun _ : T => true); last first.
  by exists mu; split=> //; move=> i0; have := none i0.
pose r i (_ : T) := s i; exists (fun i => gibbs mu beta r i t); split.
  exact: gibbs_full.
move=> i j; rewrite eq logit_sigma.
have := reward_from_gibbs r i t fmu b0; have := reward_from_gibbs r j t fmu b0.
by rewrite /r /=; lra.
Qed.

(** [Thm 4.1, Eq. (9): the valley] Every minimizer of Eq. (9), mixed in any proportion with
    copying the comparator, is a minimizer too, and its advantage over a coin flip shrinks in
    that proportion: values as near to 1/2 as one likes have the same least loss. *)
Theorem valley_of_9 n P mu beta pi c :
  every_pair n -> interior P -> full_support mu -> 0 < beta -> 0 < c <= 1 ->
  minimizes (loss_9 n P mu beta) pi ->
  minimizes (loss_9 n P mu beta) (mixed_with_copying c pi) /\
  value mu P (mixed_with_copying c pi) - 1 / 2 = c * (value mu P pi - 1 / 2).
Proof.
move=> np inn fmu b0 [c0 c1] best; have [full _] := best; have [pref _] := inn.
have copy (f : T -> R) j : \sum_i ((if i == j then 1 else 0) * f i) = f j.
  rewrite (sum_all _ j) eqxx big1 => [|i /negPf ->]; lra.
have full' : full_policy (mixed_with_copying c pi).
  move=> j; have [p0 p1] := full j; split=> [i|].
  - rewrite /mixed_with_copying; have := Rmult_lt_0_compat _ _ c0 (p0 i).
    by case: (i == j); lra.
  - rewrite /mixed_with_copying sumD !sumZ p1.
    rewrite (eq_bigr (fun i => (if i == j then 1 else 0) * 1)); last by move=> i _; lra.
    by rewrite copy; lra.
split.
- have [_ iff] := minimizers_of_9 np inn fmu b0 full'.
  have [_ iff0] := minimizers_of_9 np inn fmu b0 full.
  apply/iff => i j ij; rewrite -(iff0.1 best i j ij) /margin /log_ratio /mixed_with_copying.
  rewrite (negPf ij) eq_sym (negPf ij).
  have lnE k l : ln ((c * pi k l + (1 - c) * 0) / mu k) = ln c + ln (pi k l / mu k).
    have [m0 _] := fmu; have mk := m0 k; have [p0 _] := full l; have pk := p0 k.
    have -> : (c * pi k l + (1 - c) * 0) / mu k = c * (pi k l / mu k) by field; lra.
    by rewrite ln_mult //; apply: Rdiv_lt_0_compat.
  by rewrite !lnE; lra.
- have half j : P j j = 1 / 2 by have := pref j j; lra.
  have [_ m1] := fmu.
  rewrite {1}/value.
  rewrite (eq_bigr (fun j => c * (mu j * \sum_i (pi i j * P i j)) + (1 - c) / 2 * mu j)); last first.
    move=> j _.
    rewrite (eq_bigr (fun i => c * (pi i j * P i j) + (1 - c) * ((if i == j then 1 else 0) * P i j))).
      by rewrite sumD !sumZ (copy (P^~ j)) half; lra.
    by move=> i _; rewrite /mixed_with_copying; lra.
  by rewrite sumD !sumZ m1 -/(value mu P pi); lra.
Qed.

(* the policies whose log-ratios differ from the comparator's own by r / beta *)
Lemma anchored_gibbs mu beta r pi : full_support mu -> 0 < beta -> (forall j, r j j = 0) ->
  full_policy pi ->
  ((forall i j, i != j -> log_ratio mu pi i j - log_ratio mu pi j j = r i j / beta) <->
   forall i j, pi i j = gibbs mu beta r i j).
Proof.
move=> fmu b0 diag full; have [m0 _] := fmu; split=> [eq i j|eq i j _].
- have {}eq k : log_ratio mu pi k j = log_ratio mu pi j j + r k j / beta.
    have [->|kj] := eqVneq k j; last by have := eq k j kj; lra.
    by rewrite diag /Rdiv; lra.
  have [p0 p1] := full j.
  have piE k : pi k j = exp (log_ratio mu pi j j) * (mu k * exp (r k j / beta)).
    have mk := m0 k; have pk := p0 k.
    transitivity (mu k * exp (log_ratio mu pi k j)).
      by rewrite /log_ratio exp_ln; [field; lra|apply: Rdiv_lt_0_compat].
    by rewrite eq exp_plus; lra.
  have one : exp (log_ratio mu pi j j) * Z mu beta r j = 1.
    by rewrite -p1 /Z -sumZ; apply: eq_bigr => k _; rewrite -piE.
  have z0 := Z_gt0 beta r j fmu.
  rewrite piE /gibbs; apply: (Rmult_eq_reg_r (Z mu beta r j)); last by lra.
  transitivity (exp (log_ratio mu pi j j) * Z mu beta r j * (mu i * exp (r i j / beta))); first by lra.
  by rewrite one; field; lra.
- have lrE k : log_ratio mu pi k j = r k j / beta - ln (Z mu beta r j).
    have z0 := Z_gt0 beta r j fmu; have mk := m0 k; have e0 := exp_pos (r k j / beta).
    rewrite /log_ratio eq /gibbs.
    have -> : mu k * exp (r k j / beta) / Z mu beta r j / mu k =
              exp (r k j / beta) / Z mu beta r j by field; lra.
    by rewrite ln_div // ln_exp.
  by rewrite !lrE diag /Rdiv; lra.
Qed.

Lemma logit_half : logit (1 / 2) = 0.
Proof.
rewrite /logit; have -> : 1 / 2 / (1 - 1 / 2) = 1 by field.
exact: ln_1.
Qed.

Lemma diagonal P j : preference P -> P j j = 1 / 2.
Proof. by move=> pref; have := pref j j; lra. Qed.

(** [Repair of Thm 4.1, Eq. (9)] The anchored loss has exactly one minimizer: the solution of
    Eq. (7) whose reward is the log-odds of P, whatever P in (0, 1), beta and reference. *)
Theorem anchored_identifies n P mu beta pi :
  every_pair n -> interior P -> full_support mu -> 0 < beta -> full_policy pi ->
  (minimizes (anchored_loss n P mu beta) pi <->
   forall i j, pi i j = gibbs mu beta (fun i j => logit (P i j)) i j).
Proof.
move=> np inn fmu b0 full; have [pref _] := inn.
have diag j : logit (P j j) = 0 by rewrite diagonal // logit_half.
have gfull := gibbs_full beta (fun i j => logit (P i j)) fmu.
have atE pi' : (forall i j, i != j -> log_ratio mu pi' i j - log_ratio mu pi' j j = logit (P i j) / beta) <->
    (forall i j, i != j -> anchored_margin mu beta pi' i j = logit (P i j)).
  split=> eq i j ij.
  - by rewrite /anchored_margin eq //; field; lra.
  - by rewrite -(eq i j ij) /anchored_margin; field; lra.
rewrite -(anchored_gibbs (r := fun i j => logit (P i j)) fmu b0 diag full) atE.
apply: (minimizes_iff (w := n) (m := anchored_margin mu beta) (cost := fun i j => logistic_loss (P i j))
  (target := fun i j => logit (P i j)) (pi0 := gibbs mu beta (fun i j => logit (P i j)))) => //.
- by move=> i j ij; have [] := np i j ij.
- by move=> pi' _; apply: anchored_lossE.
- by move=> i j x _; apply: logistic_target.
- by apply/atE/(anchored_gibbs fmu b0 diag gfull).
Qed.

(** [Repair of Thm 4.1, with IPO's square] Anchored, IPO's loss has exactly one minimizer: the
    solution of Eq. (7) whose reward is P - 1/2, that is of Eq. (4) for psi = identity with the
    KL penalty tau. P may be 0 or 1, as where a pair has one label. *)
Theorem anchored_square_identifies n P mu tau pi :
  every_pair n -> preference P -> full_support mu -> 0 < tau -> full_policy pi ->
  (minimizes (anchored_square_loss n P mu tau) pi <->
   forall i j, pi i j = gibbs mu tau (fun i j => P i j - 1 / 2) i j).
Proof.
move=> np pref fmu t0 full.
have diag j : P j j - 1 / 2 = 0 by rewrite diagonal //; lra.
have gfull := gibbs_full tau (fun i j => P i j - 1 / 2) fmu.
have atE pi' : (forall i j, i != j -> log_ratio mu pi' i j - log_ratio mu pi' j j = (P i j - 1 / 2) / tau) <->
    (forall i j, i != j -> anchored_margin mu 1 pi' i j = (P i j - 1 / 2) / tau).
  by split=> eq i j ij; have := eq i j ij; rewrite /anchored_margin; lra.
rewrite -(anchored_gibbs (r := fun i j => P i j - 1 / 2) fmu t0 diag full) atE.
pose square q x := q * (x - / (2 * tau)) ^ 2 + (1 - q) * (x + / (2 * tau)) ^ 2.
apply: (minimizes_iff (w := n) (m := anchored_margin mu 1) (cost := fun i j => square (P i j))
  (target := fun i j => (P i j - 1 / 2) / tau) (pi0 := gibbs mu tau (fun i j => P i j - 1 / 2))) => //.
- by move=> i j ij; have [] := np i j ij.
- move=> pi' _; rewrite /anchored_square_loss.
  pose F i j := n i j * (P i j * (anchored_margin mu 1 pi' i j - / (2 * tau)) ^ 2).
  pose G i j := n i j * (P i j * (anchored_margin mu 1 pi' j i + / (2 * tau)) ^ 2).
  transitivity (\sum_j \sum_(i | i != j) F i j + \sum_j \sum_(i | i != j) G i j).
    rewrite -sumD; apply: eq_bigr => j _; rewrite -sumD; apply: eq_bigr => i _.
    by rewrite /F /G; lra.
  rewrite (swap_pairs G) -sumD; apply: eq_bigr => j _; rewrite -sumD; apply: eq_bigr => i ij.
  have [_ sym] := np i j ij.
  by rewrite /F /G -sym (preference_opp i j pref) /square; lra.
- move=> i j x _; pose t := (P i j - 1 / 2) / tau.
  have gain : square (P i j) x = square (P i j) t + (x - t) ^ 2.
    by rewrite /square /t; field; lra.
  have sq : 0 <= (x - t) ^ 2 by apply: pow2_ge_0.
  rewrite -/t gain; split=> [|same]; first by lra.
  have zero : (x - t) * (x - t) = 0 by move: same; rewrite /=; lra.
  by have [] := Rmult_integral _ _ zero; lra.
- by apply/atE/(anchored_gibbs fmu t0 diag gfull).
Qed.

(** [Repair of Thm 4.1, beta -> 0] What the anchored minimizer answers with other than best
    responses goes to zero with beta: it tends to pi-star. *)
Theorem anchored_tends_to_best_responses P mu i j b eps :
  full_support mu -> logit (P i j) < logit (P b j) -> 0 < eps ->
  exists beta0, 0 < beta0 /\
  forall beta, 0 < beta < beta0 -> gibbs mu beta (fun i j => logit (P i j)) i j < eps.
Proof.
move=> fmu worse e0; have [m0 _] := fmu; have mi := m0 i; have mb := m0 b.
pose d := logit (P b j) - logit (P i j); have d0 : 0 < d by rewrite /d; lra.
exists (eps * d * mu b / mu i); split=> [|beta [b0 small_beta]].
  by apply: Rdiv_lt_0_compat => //; apply: Rmult_lt_0_compat => //; apply: Rmult_lt_0_compat.
pose r i j := logit (P i j).
have z0 := Z_gt0 beta r j fmu; have ei := exp_pos (r i j / beta); have eb := exp_pos (r b j / beta).
have zb : mu b * exp (r b j / beta) <= Z mu beta r j.
  rewrite /Z (sum_all _ b).
  have : 0 <= \sum_(k | k != b) (mu k * exp (r k j / beta)).
    apply: sum_ge0 => k _; apply/Rlt_le/Rmult_lt_0_compat => //; exact: exp_pos.
  lra.
have ratio : exp (r b j / beta) = exp (r i j / beta) * exp (d / beta).
  by rewrite -exp_plus; congr exp; rewrite /d /r; field; lra.
have big : d / beta < exp (d / beta).
  have pos : 0 < d / beta by apply: Rdiv_lt_0_compat.
  by have := @exp_ineq1 (d / beta) ltac:(lra); lra.
rewrite -/r /gibbs; apply: (Rmult_lt_reg_r (Z mu beta r j)) => //.
have -> : mu i * exp (r i j / beta) / Z mu beta r j * Z mu beta r j = mu i * exp (r i j / beta) by field; lra.
apply: (Rlt_le_trans _ (eps * (mu b * exp (r b j / beta)))); last by apply: Rmult_le_compat_l; lra.
rewrite ratio.
have -> : eps * (mu b * (exp (r i j / beta) * exp (d / beta))) =
          exp (r i j / beta) * (eps * mu b * exp (d / beta)) by lra.
rewrite Rmult_comm; apply: Rmult_lt_compat_l => //.
apply: (Rlt_trans _ (eps * mu b * (d / beta))); last first.
  by apply: Rmult_lt_compat_l => //; apply: Rmult_lt_0_compat.
apply: (Rmult_lt_reg_r (beta / mu i)); first exact: Rdiv_lt_0_compat.
have -> : mu i * (beta / mu i) = beta by field; lra.
have -> : eps * mu b * (d / beta) * (beta / mu i) = eps * d * mu b / mu i by field; lra.
by [].
Qed.

(* --- what the choice model, Eq. (6), leaves --- *)

(** Eq. (6), asked of one pair. *)
Definition choice_model mu beta r P i j := P i j = sigma (2 * (r i j - beta * ln (Z mu beta r j))).

(* exp (L / 2 beta) *)
Definition tilt beta P i j := exp (logit (P i j) / (2 * beta)).

Lemma choice_model_tilt mu beta r P i j : full_support mu -> 0 < beta ->
  choice_model mu beta r P i j -> exp (r i j / beta) = tilt beta P i j * Z mu beta r j.
Proof.
move=> fmu b0 eq; have z0 := Z_gt0 beta r j fmu.
rewrite /tilt eq logit_sigma -{2}(exp_ln (Z mu beta r j)) // -exp_plus; congr exp.
by field; lra.
Qed.

Lemma tilt_gt0 beta P i j : 0 < tilt beta P i j. Proof. exact: exp_pos. Qed.

Lemma tilt_inv beta P i j : interior P -> tilt beta P i j * tilt beta P j i = 1.
Proof.
move=> inn; rewrite /tilt -exp_plus (logit_antisymmetric i j inn) /Rdiv.
rewrite -exp_0; congr exp; lra.
Qed.

Lemma tilt_one beta P i j : interior P -> 0 < beta -> tilt beta P i j = 1 -> P i j = 1 / 2.
Proof.
move=> [_ inn] b0 one; have zero : logit (P i j) = 0.
  have e : logit (P i j) / (2 * beta) = 0 by apply: exp_inv; rewrite exp_0.
  have : logit (P i j) = logit (P i j) / (2 * beta) * (2 * beta) by field; lra.
  by rewrite e; lra.
rewrite -(sigma_logit (inn i j)) zero /sigma Ropp_0 exp_0; lra.
Qed.

(* w + 1/w - 2 is a square over w *)
Lemma tilt_pair beta P i j : interior P ->
  0 <= tilt beta P i j + tilt beta P j i - 2 /\
  (tilt beta P i j + tilt beta P j i - 2 = 0 -> tilt beta P i j = 1).
Proof.
move=> inn; have inv := tilt_inv beta i j inn.
have w0 := tilt_gt0 beta P i j; have v0 := tilt_gt0 beta P j i.
set w := tilt beta P i j in inv w0 *; set v := tilt beta P j i in inv v0 *.
have sq : w + v - 2 = (w - 1) * (w - 1) * v.
  have -> : (w - 1) * (w - 1) * v = w * (w * v) - 2 * (w * v) + v by lra.
  by rewrite inv; lra.
have ge : 0 <= (w - 1) * (w - 1) by apply: Rle_0_sqr.
split=> [|zero]; first by rewrite sq; apply: Rmult_le_pos; lra.
rewrite zero in sq; have [e|] := Rmult_integral _ _ (esym sq); last by lra.
by have [] := Rmult_integral _ _ e; lra.
Qed.

Lemma mean_tilt mu beta P : full_support mu ->
  \sum_j \sum_i (mu j * mu i * (tilt beta P i j + tilt beta P j i - 2)) =
  2 * (\sum_j (mu j * \sum_i (mu i * tilt beta P i j))) - 2.
Proof.
move=> [m0 m1].
have fwd : \sum_j \sum_i (mu j * mu i * tilt beta P i j) = \sum_j (mu j * \sum_i (mu i * tilt beta P i j)).
  by apply: eq_bigr => j _; rewrite -sumZ; apply: eq_bigr => i _; lra.
have bwd : \sum_j \sum_i (mu j * mu i * tilt beta P j i) = \sum_j (mu j * \sum_i (mu i * tilt beta P i j)).
  rewrite -fwd exchange_big; apply: eq_bigr => j _; apply: eq_bigr => i _; lra.
have one : \sum_j \sum_i (mu j * mu i) = 1.
  rewrite (eq_bigr mu) // => j _; by rewrite sumZ m1; lra.
transitivity (\sum_j (\sum_i (mu j * mu i * tilt beta P i j) + \sum_i (mu j * mu i * tilt beta P j i)
    + - 2 * \sum_i (mu j * mu i))).
  by apply: eq_bigr => j _; rewrite -sumZ -!sumD; apply: eq_bigr => i _; lra.
by rewrite !sumD sumZ fwd bwd one; lra.
Qed.

(** [Eq. (6), asked of all y and y'] If some reward fits Eq. (6) for all pairs, y = y' among
    them, then nobody prefers anything: P = 1/2, whatever beta and the reference. *)
Theorem choice_model_of_all_pairs_forces_half mu beta r P :
  full_support mu -> 0 < beta -> preference P ->
  (forall i j, choice_model mu beta r P i j) -> forall i j, P i j = 1 / 2.
Proof.
move=> fmu b0 pref eq i j; have [m0 m1] := fmu.
have inn : interior P by split=> // k l; rewrite eq; apply: sigma_range.
have column l : \sum_k (mu k * tilt beta P k l) = 1.
  have z0 := Z_gt0 beta r l fmu; apply: (Rmult_eq_reg_l (Z mu beta r l)); last by lra.
  rewrite -sumZ Rmult_1_r {2}/Z; apply: eq_bigr => k _.
  by rewrite (choice_model_tilt fmu b0 (eq k l)); lra.
have total : \sum_(l : T) 0 = \sum_l \sum_k (mu l * mu k * (tilt beta P k l + tilt beta P l k - 2)).
  have ones : \sum_l (mu l * \sum_k (mu k * tilt beta P k l)) = 1.
    by rewrite -m1; apply: eq_bigr => l _; rewrite column; lra.
  by rewrite mean_tilt // ones big1_eq; lra.
have cell l k : true -> 0 <= mu l * mu k * (tilt beta P k l + tilt beta P l k - 2).
  move=> _; apply: Rmult_le_pos; last by case: (tilt_pair beta k l inn).
  by apply/Rlt_le/Rmult_lt_0_compat.
have ge l : true -> 0 <= \sum_k (mu l * mu k * (tilt beta P k l + tilt beta P l k - 2)).
  by move=> _; apply: sum_ge0 => k; apply: cell.
have row := sum_tight ge total (i := j) isT.
have zero : \sum_(k : T) 0 = \sum_k (mu j * mu k * (tilt beta P k j + tilt beta P j k - 2)).
  by rewrite big1.
have this := sum_tight (cell j) zero (i := i) isT.
apply: (tilt_one inn b0); have [_ one] := tilt_pair beta i j inn; apply: one.
have mm : 0 < mu j * mu i by apply: Rmult_lt_0_compat.
by have [] := Rmult_integral _ _ (esym this); lra.
Qed.

(** [Eq. (6), asked of different responses] A reward fits Eq. (6) for all pairs of different
    responses exactly if, for every comparator j, the others leave room for j itself:
    sum over i != j of mu_i exp(L_ij / 2 beta) < 1. *)
Theorem choice_model_of_different_responses mu beta P :
  full_support mu -> 0 < beta -> interior P ->
  ((exists r, forall i j, i != j -> choice_model mu beta r P i j) <->
   forall j, \sum_(i | i != j) (mu i * exp (logit (P i j) / (2 * beta))) < 1).
Proof.
move=> fmu b0 inn; have [m0 m1] := fmu; split=> [[r eq] j|room].
- have z0 := Z_gt0 beta r j fmu; apply: (Rmult_lt_reg_l (Z mu beta r j)) => //.
  rewrite -sumZ Rmult_1_r {2}/Z (sum_all _ j).
  have -> : \sum_(i | i != j) (Z mu beta r j * (mu i * exp (logit (P i j) / (2 * beta)))) =
            \sum_(i | i != j) (mu i * exp (r i j / beta)).
    apply: eq_bigr => i ij; rewrite (choice_model_tilt fmu b0 (eq i j ij)) /tilt; lra.
  have := Rmult_lt_0_compat _ _ (m0 j) (exp_pos (r j j / beta)); lra.
- pose rest j := \sum_(i | i != j) (mu i * exp (logit (P i j) / (2 * beta))).
  pose r i j := if i == j then beta * ln ((1 - rest j) / mu j) else logit (P i j) / 2.
  have z1 j : Z mu beta r j = 1.
    have pos : 0 < (1 - rest j) / mu j by apply: Rdiv_lt_0_compat => //; have := room j; rewrite /rest; lra.
    have mj := m0 j.
    rewrite /Z (sum_all _ j) {1}/r eqxx.
    have -> : beta * ln ((1 - rest j) / mu j) / beta = ln ((1 - rest j) / mu j) by field; lra.
    rewrite exp_ln //.
    have -> : \sum_(k | k != j) (mu k * exp (r k j / beta)) = rest j.
      apply: eq_bigr => k kj; rewrite /r (negPf kj); congr (_ * exp _); field; lra.
    by field; lra.
  exists r => i j ij; rewrite /choice_model z1 ln_1 /r (negPf ij).
  have -> : 2 * (logit (P i j) / 2 - beta * 0) = logit (P i j) by field.
  by have [_ in01] := inn; rewrite sigma_logit.
Qed.

(** [Eq. (6), asked of different responses: the bound] Where a reward fits, the mean of
    cosh(L / 2 beta) - 1 over two draws of the reference is below the probability that the two
    coincide, so preferences that are clear on average are excluded; P = 1/2 is not forced. *)
Theorem choice_model_collision_bound mu beta P (j0 : T) :
  full_support mu -> 0 < beta -> interior P ->
  (exists r, forall i j, i != j -> choice_model mu beta r P i j) ->
  \sum_j \sum_i (mu j * mu i * (cosh (logit (P i j) / (2 * beta)) - 1)) < \sum_j (mu j * mu j).
Proof.
move=> fmu b0 inn fits; have [m0 m1] := fmu.
have room := (choice_model_of_different_responses fmu b0 inn).1 fits.
have coshE : \sum_j \sum_i (mu j * mu i * (cosh (logit (P i j) / (2 * beta)) - 1)) =
    / 2 * (\sum_j \sum_i (mu j * mu i * (tilt beta P i j + tilt beta P j i - 2))).
  rewrite -sumZ; apply: eq_bigr => j _; rewrite -sumZ; apply: eq_bigr => i _.
  rewrite /cosh /tilt (logit_antisymmetric i j inn).
  have -> : - logit (P i j) / (2 * beta) = - (logit (P i j) / (2 * beta)) by rewrite /Rdiv; lra.
  lra.
rewrite coshE mean_tilt //.
have column j : mu j * (\sum_i (mu i * tilt beta P i j)) < mu j * mu j + mu j.
  have -> : mu j * mu j + mu j = mu j * (mu j + 1) by lra.
  apply: Rmult_lt_compat_l => //; rewrite (sum_all _ j).
  have -> : tilt beta P j j = 1.
    by rewrite /tilt diagonal ?logit_half /Rdiv ?Rmult_0_l ?exp_0 //; case: inn.
  by have := room j; rewrite /tilt; lra.
have total : \sum_j (mu j * \sum_i (mu i * tilt beta P i j)) < \sum_j (mu j * mu j + mu j).
  rewrite (sum_all _ j0) [X in _ < X](sum_all _ j0).
  have : \sum_(j | j != j0) (mu j * \sum_i (mu i * tilt beta P i j)) <=
         \sum_(j | j != j0) (mu j * mu j + mu j) by apply: sum_le => j _; apply/Rlt_le/column.
  by have := column j0; lra.
by move: total; rewrite sumD m1; lra.
Qed.

(* room for the comparator leaves room for each other response *)
Lemma one_of_the_others mu beta P i j : full_support mu ->
  \sum_(k | k != j) (mu k * exp (logit (P k j) / (2 * beta))) < 1 -> i != j ->
  mu i * tilt beta P i j < 1.
Proof.
move=> [m0 _] room ij; move: room; rewrite (sum_pick (C := fun k => k != j) _ ij) /tilt.
have : 0 <= \sum_(k | (k != j) && (k != i)) (mu k * exp (logit (P k j) / (2 * beta))).
  by apply: sum_ge0 => k _; apply/Rlt_le/Rmult_lt_0_compat => //; apply: exp_pos.
lra.
Qed.

(** [Eq. (6), asked of different responses at every beta] If, for one reference, a reward fits
    at every beta > 0, then P = 1/2. *)
Theorem choice_model_at_every_beta_forces_half mu P :
  full_support mu -> interior P ->
  (forall beta, 0 < beta -> exists r, forall i j, i != j -> choice_model mu beta r P i j) ->
  forall i j, P i j = 1 / 2.
Proof.
move=> fmu inn fits i j; have [m0 _] := fmu.
have le k l : k != l -> logit (P k l) <= 0.
  move=> kl; have mk := m0 k; have [//|pos] := Rle_lt_dec (logit (P k l)) 0.
  have b0 : 0 < mu k * logit (P k l) / 2 by have := Rmult_lt_0_compat _ _ mk pos; lra.
  have room := (choice_model_of_different_responses fmu b0 inn).1 (fits _ b0) l.
  have := one_of_the_others fmu room kl; rewrite /tilt.
  have -> : logit (P k l) / (2 * (mu k * logit (P k l) / 2)) = / mu k by field; lra.
  have inv0 : 0 < / mu k by apply: Rinv_0_lt_compat.
  have big : / mu k < exp (/ mu k) by have := @exp_ineq1 (/ mu k) ltac:(lra); lra.
  have := Rmult_lt_compat_l _ _ _ mk big; rewrite Rinv_r; lra.
have [pref in01] := inn; have [->|ij] := eqVneq i j; first exact: diagonal.
have zero : logit (P i j) = 0.
  have ji : j != i by rewrite eq_sym.
  by have := le i j ij; have := le j i ji; rewrite (logit_antisymmetric i j inn); lra.
rewrite -(sigma_logit (in01 i j)) zero /sigma Ropp_0 exp_0; lra.
Qed.

(** [Eq. (6), asked of different responses under every reference] If, at one beta, a reward
    fits under every reference of full support, of which there is one, then P = 1/2. *)
Theorem choice_model_under_every_reference_forces_half mu0 beta P :
  full_support mu0 -> 0 < beta -> interior P ->
  (forall mu, full_support mu ->
    exists r, forall i j, i != j -> choice_model mu beta r P i j) ->
  forall i j, P i j = 1 / 2.
Proof.
move=> [u0 u1] b0 inn fits i j.
have le k l : k != l -> tilt beta P k l <= 1.
  move=> kl; have [//|big] := Rle_lt_dec (tilt beta P k l) 1.
  set w := tilt beta P k l in big *.
  pose e := (w - 1) / (2 * w).
  have eE : (1 - e) * w = (w + 1) / 2 by rewrite /e; field; lra.
  have e0 : 0 < e by apply: Rdiv_lt_0_compat; lra.
  have e1 : e < 1.
    by apply: (Rmult_lt_reg_r w); [lra|have := eE; lra].
  pose mu i := e * mu0 i + (1 - e) * (if i == k then 1 else 0).
  have fmu : full_support mu.
    split=> [i'|].
    - have := Rmult_lt_0_compat _ _ e0 (u0 i'); rewrite /mu; case: (i' == k); lra.
    - by rewrite /mu sumD !sumZ u1 (sum_all _ k) eqxx big1 => [|i' /negPf -> //]; lra.
  have room := (choice_model_of_different_responses fmu b0 inn).1 (fits _ fmu) l.
  have := one_of_the_others fmu room kl; rewrite -/w /mu eqxx => lt.
  have pos := Rmult_lt_0_compat _ _ (Rmult_lt_0_compat _ _ e0 (u0 k)) (Rlt_trans _ _ _ Rlt_0_1 big).
  lra.
have [pref in01] := inn; have [->|ij] := eqVneq i j; first exact: diagonal.
apply: (tilt_one inn b0); have ji : j != i by rewrite eq_sym.
have := tilt_pair beta i j inn; have := le i j ij; have := le j i ji.
have w0 := tilt_gt0 beta P i j; have v0 := tilt_gt0 beta P j i.
by move=> le1 le2 [ge eq]; apply: eq; lra.
Qed.

End Policies.

(** [Eq. (6), asked of different responses: an example] It does not force P = 1/2: with two
    responses, an even reference and beta = 1/2, a reward fits P12 = 3/5. *)
Theorem choice_model_leaves_room :
  let mu := fun _ : bool => 1 / 2 in
  let P := fun i j : bool => if i == j then 1 / 2 else if i then 3 / 5 else 2 / 5 in
  exists r, forall i j, i != j -> choice_model mu (1 / 2) r P i j.
Proof.
move=> mu P.
have sum2 (f : bool -> R) : \sum_i f i = f true + f false.
  by rewrite (sum_all _ true) (big_pred1 false) // => -[].
have fmu : full_support mu by split=> [i|]; rewrite ?sum2 /mu; lra.
have inn : interior P by split=> -[] [] /=; rewrite /P /=; lra.
have half : 0 < 1 / 2 by lra.
apply/(choice_model_of_different_responses fmu half inn) => j.
have [x xE] : exists x, \sum_(i | i != j) (mu i * exp (logit (P i j) / (2 * (1 / 2)))) = x by eexists.
rewrite (big_pred1 (~~ j)) => [|i]; last by case: i j {xE} => [] [].
have -> : logit (P (~~ j) j) / (2 * (1 / 2)) = logit (P (~~ j) j) by field.
have in01 := inn.2 (~~ j) j.
rewrite /logit exp_ln; last by apply: Rdiv_lt_0_compat; lra.
by rewrite /mu /P; case: j {xE in01} => /=; lra.
Qed.
