/** Everything that the explorer shows of one problem. */
import { Flip, flips, pick } from "./flips";
import { Point, bestValueAt, conditionedFrontier, promptFrontier } from "./frontier";
import { Matrix, Refusal, Vector } from "./matrices";
import * as objectives from "./objectives";
import { Psi } from "./objectives";
import { TRAINING, Trained, dpo, inspo, ipo, nash } from "./policies";
import { cycles, misfit } from "./preferences";

export interface Problem {
  P: Matrix;
  labels: string[];
  mu: Vector;
  psi: Psi;
  beta: number;
  tau: number;
}

export const POLICIES = ["pi_bar", "dpo", "ipo", "inspo_deployed", "nash", "inspo_real", "pi_star"] as const;
export type PolicyName = (typeof POLICIES)[number];

/** A policy with what it is worth; or why there is none. */
export type Policy =
  | { kind: "prompt"; policy: Vector; value: number; kl: number }
  | { kind: "comparator"; policy: Matrix; value: number; kl: number; bestAtKl: number }
  | { kind: "none"; why: string };

export interface Solution {
  policies: Record<PolicyName, Policy>;
  reference: number;
  gap: number;
  picks: { identity: number; log_odds: number | null };
  flips: Flip[];
  cycles: [number, number, number][];
  misfit: { meanKl: number; maxError: number };
  prompt: Point[];
  comparator: Point[];
}

/** Solves a problem whose matrix has been validated; InSPO is trained for so many steps.
 *
 * Throws a Refusal where psi is infinite on P: then nothing has a value.
 */
export function solve({ P, labels, mu, psi, beta, tau }: Problem, steps?: number | null): Solution {
  const A = objectives.applyPsi(P, psi, labels);
  const prompt = (make: () => Vector): Policy =>
    orWhy(() => {
      const policy = make();
      return { kind: "prompt", policy, value: objectives.value(policy, A, mu), kl: objectives.kl(policy, mu) };
    });
  const comparator = (make: () => Matrix): Policy =>
    orWhy(() => {
      const policy = make();
      const divergence = objectives.conditionedKl(policy, mu);
      const worth = objectives.conditionedValue(policy, A, mu);
      return { kind: "comparator", policy, value: worth, kl: divergence, bestAtKl: bestValueAt(A, mu, divergence) };
    });
  const trained: Trained = inspo(P, mu, beta, { ...TRAINING, ...(steps && { steps }) });
  return {
    policies: {
      pi_bar: prompt(() => objectives.piBar(A, mu)),
      dpo: prompt(() => dpo(P, mu, beta)),
      ipo: prompt(() => ipo(P, mu, tau, psi, labels)),
      inspo_deployed: prompt(() => trained.deployed),
      nash: prompt(() => nash(P)),
      inspo_real: comparator(() => trained.real),
      pi_star: comparator(() => objectives.piStar(P)),
    },
    reference: objectives.value(mu, A, mu),
    gap: objectives.optimalityGap(A, mu),
    picks: { identity: pick(P, mu), log_odds: logOddsPick(P, mu, labels) },
    flips: flips(A, mu),
    cycles: cycles(P),
    misfit: misfit(P),
    prompt: promptFrontier(A, mu),
    comparator: conditionedFrontier(A, mu),
  };
}

function orWhy(make: () => Policy): Policy {
  try {
    return make();
  } catch (error) {
    if (error instanceof Refusal) return { kind: "none", why: error.message };
    throw error;
  }
}

function logOddsPick(P: Matrix, mu: Vector, labels: string[]): number | null {
  try {
    return pick(objectives.applyPsi(P, "log_odds", labels), mu);
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}
