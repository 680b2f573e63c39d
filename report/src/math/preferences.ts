/** How separable preferences are: Bradley-Terry fits and cycles. As inspo/preferences.py. */
import { Matrix, Refusal, Vector, range, sigmoid, solveLinear, sum, table } from "./matrices";

const MAX_STEPS = 500;

/** Whether from each response a chain leads to each other one. */
function linked(beats: boolean[][]): boolean {
  const k = beats.length;
  const reached = beats.map((row, i) => row.map((b, j) => b || i === j));
  for (const via of range(k)) {
    for (const i of range(k)) for (const j of range(k)) reached[i][j] ||= reached[i][via] && reached[via][j];
  }
  return reached.every((row) => row.every(Boolean));
}

/** Bradley-Terry scores of maximum likelihood, nats, mean zero, by damped Newton steps; wins is what i won over j. */
export function fitBradleyTerry(wins: Matrix, bounded = true): Vector {
  const k = wins.length;
  if (bounded && !linked(wins.map((row, i) => row.map((w, j) => i !== j && w > 0)))) {
    throw new Refusal("no finite optimum: some responses always lose to the others");
  }
  const heaviest = Math.max(...range(k).flatMap((i) => range(k).map((j) => (i === j ? 0 : wins[i][j] + wins[j][i]))));
  const won = table(k, (i, j) => (i === j ? 0 : wins[i][j] / heaviest));
  const compared = table(k, (i, j) => won[i][j] + won[j][i]);
  let found = new Array<number>(k).fill(0);
  for (let step = 0; step < MAX_STEPS; step++) {
    const fitted = table(k, (i, j) => sigmoid(found[i] - found[j]));
    const gradient = range(k).map((i) => sum(range(k).map((j) => won[i][j] - compared[i][j] * fitted[i][j])));
    const curvature = table(k, (i, j) => compared[i][j] * fitted[i][j] * (1 - fitted[i][j]));
    const diagonal = curvature.map(sum);
    const trace = sum(diagonal) - sum(range(k).map((i) => curvature[i][i]));
    const hessian = table(k, (i, j) => (i === j ? diagonal[i] : 0) - curvature[i][j] + trace / k ** 2);
    let move = solveLinear(hessian, gradient);
    const damping = Math.max(1, Math.max(...move.map(Math.abs)) / 2);
    move = move.map((m) => m / damping);
    found = found.map((s, i) => s + move[i]);
    const small = Math.max(...gradient.map(Math.abs)) < (bounded ? 1e-15 : 1e-12);
    if (small || Math.max(...move.map(Math.abs)) < 1e-12) break;
  }
  const mean = sum(found) / k;
  return found.map((s) => s - mean);
}

/** Triples that beat each other in a circle, each with more than 1/2, the first one the smallest number. */
export function cycles(P: Matrix): [number, number, number][] {
  const beats = (i: number, j: number): boolean => P[i][j] > 0.5;
  const found: [number, number, number][] = [];
  for (const i of range(P.length)) {
    for (const j of range(P.length)) {
      for (const l of range(P.length)) {
        if (i < j && i < l && beats(i, j) && beats(j, l) && beats(l, i)) found.push([i, j, l]);
      }
    }
  }
  return found;
}

/** How far the nearest Bradley-Terry preferences are: mean KL over pairs in nats, and the largest error. */
export function misfit(P: Matrix): { meanKl: number; maxError: number } {
  const fitted = fitBradleyTerry(P, false);
  const term = (p: number, q: number): number => (p > 0 ? p * Math.log(p / Math.max(q, 2.2250738585072014e-308)) : 0);
  let total = 0;
  let pairs = 0;
  let maxError = 0;
  for (const i of range(P.length)) {
    for (const j of range(P.length)) {
      if (j <= i) continue;
      const q = sigmoid(fitted[i] - fitted[j]);
      total += term(P[i][j], q) + term(1 - P[i][j], 1 - q);
      maxError = Math.max(maxError, Math.abs(P[i][j] - q));
      pairs += 1;
    }
  }
  return { meanKl: total / pairs, maxError };
}
