/** The policies that the methods end in, one problem at a time. As toy/baselines.py and toy/training.py. */
import { Matrix, Vector, range, sum, table } from "./matrices";
import { Psi, applyPsi, gibbs, scores } from "./objectives";
import { fitBradleyTerry } from "./preferences";

/** DPO's population optimum, which is RLHF's in two steps. Eq. (2) and (3). */
export function dpo(P: Matrix, mu: Vector, beta: number): Vector {
  const drawn = table(P.length, (i, j) => mu[i] * mu[j] * P[i][j]);
  return gibbs(fitBradleyTerry(drawn), mu, beta);
}

/** IPO's closed form, mu exp(S / tau). */
export const ipo = (P: Matrix, mu: Vector, tau: number, psi: Psi, labels: string[]): Vector =>
  gibbs(scores(applyPsi(P, psi, labels), mu), mu, tau);

/** How InSPO is trained here: plain gradient descent on Eq. (9), as the toy's plot `frontier` does. */
export const TRAINING = { steps: 1500, rate: 5 };

export interface Trained {
  deployed: Vector;
  real: Matrix;
}

/** INS-DPO by gradient descent from the reference, on the whole population.
 *
 * The logits of i in view of j are log mu_i + u_i + M[i][j], and without a comparator log mu_i + u_i: scores are
 * shared, so that what is learned with the other response in view reaches the policy that is deployed.
 */
export function inspo(P: Matrix, mu: Vector, beta: number, training = TRAINING): Trained {
  const k = P.length;
  const logMu = mu.map(Math.log);
  const drawn = table(k, (i, j) => (i === j ? 0 : mu[i] * mu[j] * P[i][j]));
  const total = sum(drawn.map(sum));
  const weight = Float64Array.from(drawn.flat().map((w) => w / total));
  const u = new Float64Array(k);
  const M = new Float64Array(k * k);
  const ratio = new Float64Array(k * k);
  const policy = new Float64Array(k * k);
  const slope = new Float64Array(k * k);

  const look = (): void => {
    for (let j = 0; j < k; j++) {
      let top = -Infinity;
      for (let i = 0; i < k; i++) top = Math.max(top, logMu[i] + u[i] + M[i * k + j]);
      let mass = 0;
      for (let i = 0; i < k; i++) mass += policy[i * k + j] = Math.exp(logMu[i] + u[i] + M[i * k + j] - top);
      const log = top + Math.log(mass);
      for (let i = 0; i < k; i++) {
        policy[i * k + j] /= mass;
        ratio[i * k + j] = u[i] + M[i * k + j] - log;
      }
    }
  };

  for (let step = 0; step < training.steps; step++) {
    look();
    for (let i = 0; i < k; i++) {
      for (let j = i + 1; j < k; j++) {
        const margin = beta * (ratio[i * k + j] - ratio[j * k + i]);
        const won = 1 / (1 + Math.exp(-margin));
        slope[i * k + j] = -beta * (weight[i * k + j] * (1 - won) - weight[j * k + i] * won);
        slope[j * k + i] = -slope[i * k + j];
      }
    }
    for (let j = 0; j < k; j++) {
      let pulled = 0;
      for (let i = 0; i < k; i++) pulled += slope[i * k + j];
      for (let i = 0; i < k; i++) {
        const change = training.rate * (slope[i * k + j] - policy[i * k + j] * pulled);
        M[i * k + j] -= change;
        u[i] -= change;
      }
    }
    // All of column j's u must move by this step's slopes alone: `look` reads them at the next step only.
  }
  look();
  return {
    deployed: gibbs(Array.from(u), mu, 1),
    real: table(k, (i, j) => policy[i * k + j]),
  };
}

/** The Nash policy, which no response beats with more than 1/2: a linear program, by the simplex method.
 *
 * With the game shifted by 1, maximize sum x under A x <= 1, A[j][i] = P[j][i] + 1; then pi is x, normalized. The
 * leaving and entering variables are the first possible ones (Bland), so that it ends; of several equilibria it gives
 * one.
 */
export function nash(P: Matrix): Vector {
  const k = P.length;
  const rows = range(k).map((j) => [...range(k).map((i) => P[j][i] + 1), ...range(k).map((l) => +(l === j)), 1]);
  const cost = [...new Array<number>(k).fill(-1), ...new Array<number>(k + 1).fill(0)];
  const basis = range(k).map((j) => k + j);
  for (;;) {
    const entering = cost.findIndex((c, index) => index < 2 * k && c < -1e-12);
    if (entering < 0) break;
    let leaving = -1;
    let least = Infinity;
    for (const row of range(k)) {
      if (rows[row][entering] <= 1e-12) continue;
      const bound = rows[row][2 * k] / rows[row][entering];
      if (bound < least - 1e-14 || (bound <= least + 1e-14 && basis[row] < basis[leaving])) {
        least = Math.min(least, bound);
        leaving = row;
      }
    }
    const pivot = rows[leaving][entering];
    rows[leaving] = rows[leaving].map((entry) => entry / pivot);
    for (const row of range(k)) {
      const factor = rows[row][entering];
      if (row === leaving || factor === 0) continue;
      for (let c = 0; c <= 2 * k; c++) rows[row][c] -= factor * rows[leaving][c];
    }
    const factor = cost[entering];
    for (let c = 0; c <= 2 * k; c++) cost[c] -= factor * rows[leaving][c];
    basis[leaving] = entering;
  }
  const x = new Array<number>(k).fill(0);
  basis.forEach((variable, row) => {
    if (variable < k) x[variable] = Math.max(0, rows[row][2 * k]);
  });
  const mass = sum(x);
  return x.map((entry) => entry / mass);
}
