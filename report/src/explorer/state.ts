/** What the reader has set, the solution of it, and the link that holds it. */
import { computed, effect, signal } from "@preact/signals";
import { Example, Table, data } from "../data";
import { Matrix, Refusal, Vector, range, sum, table, uniform, validate } from "../math/matrices";
import { Psi } from "../math/objectives";
import { Problem, Solution, solve } from "../math/solve";
import { MOST, parse } from "../tables";

/** The most that a reader can give a slider, and the least share of the reference that he can leave a response. */
export const RANGES = { beta: [0.05, 1], tau: [0.02, 3] } as const;
const LEAST = 0.002;

export interface Shown extends Problem {
  /** What is shown, in a line. */
  title: string;
}

const W: Shown = {
  P: [
    [0.5, 0.3, 0.9],
    [0.7, 0.5, 0.6],
    [0.1, 0.4, 0.5],
  ],
  labels: ["y1", "y2", "y3"],
  mu: uniform(3),
  psi: "identity",
  beta: 1,
  tau: 0.3,
  title: "W, the witness that is used most",
};

export const shown = signal<Shown>(fromHash(location.hash) ?? W);

/** One line on what was refused; what was shown stays. */
export const complaint = signal("");

export const solution = computed<{ found?: Solution; why?: string }>(() => {
  try {
    return { found: solve(shown.value) };
  } catch (error) {
    if (error instanceof Refusal) return { why: error.message };
    throw error;
  }
});

export function change(what: Partial<Shown>): void {
  complaint.value = "";
  shown.value = { ...shown.value, ...what };
}

/** Sets P[i][j] in hundredths, and P[j][i] with it. */
export function setPreference(i: number, j: number, p: number): void {
  const rounded = Math.min(1, Math.max(0, Math.round(p * 100) / 100));
  const P = shown.value.P;
  change({
    P: table(P.length, (a, b) => (a === i && b === j ? rounded : a === j && b === i ? 1 - rounded : P[a][b])),
    title: "your own matrix",
  });
}

/** Gives a response this share of the reference; the others keep their proportions. */
export function setShare(i: number, share: number): void {
  const mu = shown.value.mu;
  const rest = 1 - mu[i];
  const bounded = Math.min(1 - LEAST * (mu.length - 1), Math.max(LEAST, share));
  setReference(mu.map((m, j) => (j === i ? bounded : rest > 0 ? (m * (1 - bounded)) / rest : (1 - bounded) / (mu.length - 1))));
}

export function setReference(weights: Vector): void {
  const kept = weights.map((w) => Math.max(w, LEAST));
  const total = sum(kept);
  change({ mu: kept.map((w) => w / total) });
}

/** Another number of responses: the first ones stay, new ones tie with all. */
export function resize(k: number): void {
  const { P, labels } = shown.value;
  const old = P.length;
  const names = range(k).map((i) => labels[i] ?? (labels.includes(`y${i + 1}`) ? `new ${i + 1}` : `y${i + 1}`));
  change({ P: table(k, (i, j) => (i < old && j < old ? P[i][j] : 0.5)), labels: names, mu: uniform(k), title: "your own matrix" });
}

export function show(example: Example): void {
  change({ ...example, title: `${example.claim}: ${example.what}` });
  document.getElementById("explorer")?.scrollIntoView();
}

export function showTable(chosen: Table): void {
  change({ P: chosen.P, labels: chosen.labels, mu: uniform(chosen.labels.length), title: chosen.name });
}

/** Reads a reader's own table; a refusal is one line, and nothing else changes. */
export async function read(file: File): Promise<void> {
  try {
    const loaded = parse(await file.text(), file.name);
    change({ ...loaded, mu: uniform(loaded.labels.length), title: file.name });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    complaint.value = `${file.name} was not taken: ${error.message}`;
  }
}

export const examplesOf = (claim: string): Example[] => data.examples.filter((example) => example.claim === claim);

const short = (x: number): string => String(Number(x.toPrecision(12)));

export function toHash({ P, labels, mu, psi, beta, tau }: Shown): string {
  const upper = range(P.length).flatMap((i) => P[i].slice(i + 1));
  const parts = {
    P: upper.map(short).join(","),
    mu: mu.map(short).join(","),
    labels: labels.map(encodeURIComponent).join(","),
    psi,
    beta: short(beta),
    tau: short(tau),
  };
  return `#${Object.entries(parts).map(([key, text]) => `${key}=${text}`).join("&")}`;
}

/** What a link holds; nothing of one that holds nothing valid. */
export function fromHash(hash: string): Shown | null {
  const parts = new Map(hash.slice(1).split("&").map((part) => part.split("=", 2) as [string, string]));
  if (!parts.has("P")) return null;
  const numbers = (key: string): Vector => (parts.get(key) ?? "").split(",").map(Number);
  const mu = numbers("mu");
  const k = mu.length;
  const upper = numbers("P");
  const psi = parts.get("psi");
  const [[beta], [tau]] = [numbers("beta"), numbers("tau")];
  const index = (i: number, j: number): number => (i * (2 * k - i - 1)) / 2 + j - i - 1;
  const within = (x: number, [low, high]: readonly [number, number]): boolean => x >= low && x <= high;
  try {
    const labels = (parts.get("labels") ?? "").split(",").map(decodeURIComponent);
    const P: Matrix = validate(
      table(k, (i, j) => (i === j ? 0.5 : i < j ? upper[index(i, j)] : 1 - upper[index(j, i)])),
      labels,
    );
    const sizes = k <= MOST && labels.length === k && new Set(labels).size === k && upper.length === (k * (k - 1)) / 2;
    const reference = mu.every((m) => m >= 0) && Math.abs(sum(mu) - 1) < 1e-6;
    const settings = ["identity", "log_odds"].includes(psi ?? "") && within(beta, RANGES.beta) && within(tau, RANGES.tau);
    if (!sizes || !reference || !settings) return null;
    return { P, labels, mu: mu.map((m) => m / sum(mu)), psi: psi as Psi, beta, tau, title: "from a link" };
  } catch (error) {
    if (error instanceof Refusal || error instanceof URIError) return null;
    throw error;
  }
}

/** Keeps the link up to date, and takes one that is opened. */
export function followLink(): void {
  let first = true;
  let waiting = 0;
  effect(() => {
    const hash = toHash(shown.value);
    if (!first) {
      clearTimeout(waiting);
      waiting = window.setTimeout(() => history.replaceState(null, "", hash), 150);
    }
    first = false;
  });
  addEventListener("hashchange", () => {
    const linked = fromHash(location.hash);
    if (linked) change(linked);
  });
}
