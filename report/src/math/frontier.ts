/** The largest V at each KL, without and with a comparator: both maximize V - tau KL. As toy/baselines.py. */
import { Matrix, Vector } from "./matrices";
import { conditionedGibbs, conditionedKl, conditionedValue, gibbs, kl, scores, value } from "./objectives";

export interface Point {
  kl: number;
  value: number;
}

/** From 10^-2.5 to 10^1.5, where the toy's frontier is drawn. */
export const TAUS = Array.from({ length: 33 }, (_, n) => Number((10 ** (-2.5 + n / 8)).toFixed(5)));

export const promptFrontier = (A: Matrix, mu: Vector): Point[] =>
  TAUS.map((tau) => {
    const policy = gibbs(scores(A, mu), mu, tau);
    return { kl: kl(policy, mu), value: value(policy, A, mu) };
  });

export const conditionedFrontier = (A: Matrix, mu: Vector): Point[] =>
  TAUS.map((tau) => {
    const policy = conditionedGibbs(A, mu, tau);
    return { kl: conditionedKl(policy, mu), value: conditionedValue(policy, A, mu) };
  });

/** The largest V of a prompt-only policy with this KL. */
export function bestValueAt(A: Matrix, mu: Vector, divergence: number): number {
  const reward = scores(A, mu);
  const at = (exponent: number): Vector => gibbs(reward, mu, Math.exp(-exponent));
  let [low, high] = [-12, 12];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (kl(at(middle), mu) > divergence) high = middle;
    else low = middle;
  }
  return value(at(high), A, mu);
}
