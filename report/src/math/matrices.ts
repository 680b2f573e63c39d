/** Preference matrices: P[i][j] is the probability that response i is preferred to j. As inspo/matrices.py. */

export type Vector = number[];
export type Matrix = number[][];

/** What cannot be computed, or a table that cannot be read: one line for the reader. */
export class Refusal extends Error {}

/** How far P + P^T may be from 1 before a table is refused, and up to where it is left as it is. */
const TOLERANCE = 1e-6;
const ROUNDING = 1e-12;

export const range = (k: number): number[] => Array.from({ length: k }, (_, i) => i);

export const sum = (values: Vector): number => values.reduce((total, value) => total + value, 0);

export const table = (k: number, entry: (i: number, j: number) => number): Matrix =>
  range(k).map((i) => range(k).map((j) => entry(i, j)));

export const uniform = (k: number): Vector => Array.from({ length: k }, () => 1 / k);

export const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

/** Names an entry as a reader finds it: row over column. */
export const cell = (labels: string[], i: number, j: number): string => `${labels[i]} over ${labels[j]}`;

/** Checks a matrix; pairs that add up to 1 but for float32's rounding are made to. */
export function validate(P: Matrix, labels: string[]): Matrix {
  const k = P.length;
  if (k < 2) throw new Refusal("a preference needs at least two responses");
  for (const i of range(k)) {
    if (P[i].length !== k) throw new Refusal(`row ${labels[i]} has ${P[i].length} entries, but there are ${k} rows`);
    for (const j of range(k)) {
      const p = P[i][j];
      if (!(p >= 0 && p <= 1)) throw new Refusal(`${cell(labels, i, j)} = ${p} is not a probability in [0, 1]`);
    }
  }
  let worst = 0;
  for (const i of range(k)) {
    for (const j of range(k)) {
      const off = Math.abs(P[i][j] + P[j][i] - 1);
      worst = Math.max(worst, off);
      if (off <= TOLERANCE) continue;
      throw new Refusal(
        i === j
          ? `${cell(labels, i, i)} = ${P[i][i]}, but a response ties with itself: must be 1/2`
          : `${cell(labels, i, j)} is ${P[i][j]} and ${cell(labels, j, i)} is ${P[j][i]}: together they must be 1`,
      );
    }
  }
  return worst <= ROUNDING ? P : table(k, (i, j) => P[i][j] - (P[i][j] + P[j][i] - 1) / 2);
}

/** The solution x of A x = b, by elimination with pivots; A and b are not changed. */
export function solveLinear(A: Matrix, b: Vector): Vector {
  const n = b.length;
  const rows = A.map((row, i) => [...row, b[i]]);
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) {
      if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = column + 1; row < n; row++) {
      const factor = rows[row][column] / rows[column][column];
      for (let c = column; c <= n; c++) rows[row][c] -= factor * rows[column][c];
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let row = n - 1; row >= 0; row--) {
    let rest = rows[row][n];
    for (let c = row + 1; c < n; c++) rest -= rows[row][c] * x[c];
    x[row] = rest / rows[row][row];
  }
  return x;
}
