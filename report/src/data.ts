/** What `python -m report` put into the page. */
import type { Psi } from "./math/objectives";

export interface Source {
  file: string;
  command: string;
  seeds: string;
  date: string;
  parts: string[];
}

export interface Claim {
  id: string;
  anchor: string;
  group: "paper" | "own" | "errata";
  paper: string;
  verdict: string;
  quote: string;
  reading: string;
  truth: string[];
  missing: string;
  witness: string;
  evidence: { shows: string; kind: string; check: string; finding: string }[];
}

export interface Row {
  name: string;
  question: string;
  unit: string;
  verdict: string;
  mean?: number;
  se?: number;
  low?: number;
  high?: number;
  seeds?: number;
  p?: number;
  source?: string;
}

export interface World {
  name: string;
  about: string;
  rows: Row[];
  picture: string | null;
}

export interface Item {
  id: string;
  title: string;
  picture: string | null;
  html: string | null;
  ours: string;
  source: string;
}

export interface Example {
  claim: string;
  what: string;
  P: number[][];
  labels: string[];
  mu: number[];
  psi: Psi;
  beta: number;
  source: string;
}

export interface Table {
  name: string;
  about: string;
  key: string;
  labels: string[];
  counts: number[][];
  P: number[][];
  source: string;
}

export interface Plot {
  name: string;
  finding: string;
  how: string;
  number: string;
  picture: string | null;
  source: string;
}

interface Reply {
  text: string;
  ended: boolean;
}

export interface Generations {
  about: { model: string; data: string; seed: number; max_tokens: number; date: string };
  replies: { prompt: string; base: Reply; dpo: Reply; ins: Reply }[];
  source: string;
}

export interface Data {
  sources: Record<string, Source>;
  numbers: Record<string, { text: string; value: number | string; source: string }>;
  notes: Record<string, string[]>;
  formulas: Record<string, string>;
  verdicts: Claim[];
  examples: Example[];
  tables: Table[];
  toy: Plot[];
  worlds: World[];
  generations: Generations | null;
  paper: Item[];
  told: Record<string, { html: string; source: string }>;
}

const EMPTY: Data = {
  sources: {},
  numbers: {},
  notes: {},
  formulas: {},
  verdicts: [],
  examples: [],
  tables: [],
  toy: [],
  worlds: [],
  generations: null,
  paper: [],
  told: {},
};

export const data: Data = { ...EMPTY, ...JSON.parse(document.getElementById("data")?.textContent ?? "{}") };
