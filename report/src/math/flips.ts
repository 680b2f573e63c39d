/** How little the reference has to move for pi_bar to pick another response. */
import { Matrix, Vector, range } from "./matrices";
import { optima, scores } from "./objectives";

export interface Flip {
  /** Toward this response the reference is moved, */
  toward: number;
  /** by this share of its mass, */
  share: number;
  /** and then this one is picked. */
  picks: number;
}

/** pi_bar's pick: the first of the best. */
export const pick = (A: Matrix, mu: Vector): number => optima(scores(A, mu)).indexOf(true);

/** For each response that the reference can be moved toward, the smallest share that flips the pick; smallest first.
 *
 * At (1 - t) mu + t e_j the lead of the pick over i is (1 - t) lead + t (A[pick][j] - A[i][j]), a straight line in t.
 */
export function flips(A: Matrix, mu: Vector): Flip[] {
  const score = scores(A, mu);
  const picked = pick(A, mu);
  const found: Flip[] = [];
  for (const toward of range(mu.length)) {
    let nearest: Flip | undefined;
    for (const picks of range(mu.length)) {
      const lead = score[picked] - score[picks];
      const end = A[picked][toward] - A[picks][toward];
      if (picks === picked || end >= 0) continue;
      const share = Math.max(0, lead / (lead - end));
      if (!nearest || share < nearest.share) nearest = { toward, share, picks };
    }
    if (nearest) found.push(nearest);
  }
  return found.sort((a, b) => a.share - b.share);
}
