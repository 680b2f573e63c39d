/** What a policy is worth and which are best: as inspo/objectives.py, with ties as toy/baselines.py has them.
 *
 * A policy without a comparator is a vector; one that sees the comparator a matrix, whose column j answers j.
 */
import { Matrix, Refusal, Vector, range, sum, table } from "./matrices";

export type Psi = "identity" | "log_odds";

/** Scores this close are tied. */
export const TIE = 1e-9;

/** psi(P[i][j]); log-odds need every preference strictly between 0 and 1. */
export function applyPsi(P: Matrix, psi: Psi, labels: string[]): Matrix {
  if (psi === "identity") return P;
  return P.map((row, i) =>
    row.map((p, j) => {
      if (!(p > 0 && p < 1)) throw new Refusal(`log-odds are infinite where ${labels[i]} over ${labels[j]} is ${p}`);
      return Math.log(p) - Math.log1p(-p);
    }),
  );
}

/** S(i) = sum_j mu_j A[i][j]. */
export const scores = (A: Matrix, mu: Vector): Vector => A.map((row) => sum(row.map((a, j) => a * mu[j])));

export function optima(score: Vector): boolean[] {
  const best = Math.max(...score) - TIE;
  return score.map((s) => s >= best);
}

const shared = (chosen: boolean[]): Vector => {
  const count = chosen.filter(Boolean).length;
  return chosen.map((c) => (c ? 1 / count : 0));
};

export const column = (policy: Matrix, j: number): Vector => policy.map((row) => row[j]);

export const ofColumns = (columns: Vector[]): Matrix => table(columns.length, (i, j) => columns[j][i]);

/** The best prompt-only policy, uniform over ties. Eq. (4). */
export const piBar = (A: Matrix, mu: Vector): Vector => shared(optima(scores(A, mu)));

/** The best policy that sees the comparator, uniform over ties. Eq. (5). */
export const piStar = (P: Matrix): Matrix => ofColumns(range(P.length).map((j) => shared(optima(column(P, j)))));

/** V of a prompt-only policy. Eq. (4). */
export const value = (policy: Vector, A: Matrix, mu: Vector): number =>
  sum(scores(A, mu).map((s, i) => s * policy[i]));

/** V of a policy that sees the comparator that it is judged against. Eq. (5). */
export const conditionedValue = (policy: Matrix, A: Matrix, mu: Vector): number =>
  sum(policy.map((row, i) => sum(row.map((p, j) => p * A[i][j] * mu[j]))));

/** V(pi*) - V(pi_bar), Thm 3.2 (ii). */
export const optimalityGap = (A: Matrix, mu: Vector): number =>
  sum(mu.map((m, j) => m * Math.max(...column(A, j)))) - Math.max(...scores(A, mu));

/** KL(policy || mu), nats. */
export const kl = (policy: Vector, mu: Vector): number =>
  sum(policy.map((p, i) => (p > 0 ? p * Math.log(p / mu[i]) : 0)));

/** The mean over comparators drawn from mu, nats. */
export const conditionedKl = (policy: Matrix, mu: Vector): number =>
  sum(mu.map((m, j) => m * kl(column(policy, j), mu)));

/** mu exp(reward / beta), normalized: the optimum of Eq. (2). */
export function gibbs(reward: Vector, mu: Vector, beta: number): Vector {
  const best = Math.max(...reward);
  const logits = reward.map((r, i) => Math.log(mu[i]) + (r - best) / beta);
  const top = Math.max(...logits);
  const weights = logits.map((l) => Math.exp(l - top));
  const total = sum(weights);
  return weights.map((w) => w / total);
}

/** The same for each comparator: the optimum of Eq. (7). */
export const conditionedGibbs = (reward: Matrix, mu: Vector, beta: number): Matrix =>
  ofColumns(mu.map((_, j) => gibbs(column(reward, j), mu, beta)));

/** How far the best response to a policy is above 1/2; zero for the Nash policy. */
export const exploitability = (policy: Vector, P: Matrix): number => Math.max(...scores(P, policy)) - 0.5;
