/** A reader's own table, from CSV or JSON text: the rules of inspo/tables.py, whose errors name the cell. */
import { Matrix, Refusal, cell, range, table, validate } from "./math/matrices";

export interface Loaded {
  P: Matrix;
  labels: string[];
}

/** What the explorer has room for. */
export const MOST = 16;

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const BLANK = new Set(["", "nan", "na", "n/a", "null", "none", "-"]);

const isNumber = (text: string): boolean => NUMBER.test(text.replace(/\s*%$/, ""));
const isBlank = (text: string): boolean => BLANK.has(text.toLowerCase());

export function parse(text: string, name: string): Loaded {
  if (!text.trim()) throw new Refusal(`${name} is empty: give a table in CSV or JSON`);
  const found = /\.json$/i.test(name) ? ofJson(text, name) : ofCsv(text, name);
  if (found.labels.length > MOST) {
    throw new Refusal(`${name} has ${found.labels.length} responses, and here is room for ${MOST}`);
  }
  return found;
}

function ofJson(text: string, name: string): Loaded {
  let content: Record<string, unknown>;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Refusal(`${name} is no valid JSON (cut off?)`);
  }
  const key = ["counts", "preferences"].find((each) => Array.isArray(content?.[each]));
  if (!key) throw new Refusal(`${name} needs one of the keys "counts" and "preferences", a list of rows`);
  const rows = content[key] as unknown[][];
  if (!rows.every(Array.isArray)) throw new Refusal(`${name}: "${key}" must be a list of rows`);
  const labels = Array.isArray(content.labels) ? content.labels.map(String) : null;
  return built(rows.map((row) => row.map((entry) => (entry === null ? "" : String(entry)))), labels, key === "counts");
}

/** Cells of a CSV text; quotes may hold commas, and are doubled within. */
function split(text: string): string[][] {
  return text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line) => {
      const cells = line.match(/("([^"]|"")*"|[^,]*)(,|$)/g) ?? [];
      const whole = cells.map((each) => each.replace(/,$/, "").trim().replace(/^"(.*)"$/, "$1").replaceAll('""', '"'));
      return line.endsWith(",") ? whole : whole.slice(0, -1);
    })
    .filter((row) => row.some((each) => each !== ""));
}

function ofCsv(text: string, name: string): Loaded {
  const rows = split(text);
  if (rows.length < 2) throw new Refusal(`${name} holds no table of at least two responses`);
  for (const [separator, called] of [[";", "semicolons"], ["\t", "tabs"], ["|", "bars"]]) {
    if (rows.every((row) => row.length === 1 && row[0].includes(separator))) {
      throw new Refusal(`${name} is separated by ${called}: separate by commas, and write decimals with a point`);
    }
  }
  const headed = isHeaded(rows);
  const body = headed ? rows.slice(1) : rows;
  const named = body.every((row) => !isNumber(row[0]) && !isBlank(row[0])) && body[0].length > body.length;
  const cells = named ? body.map((row) => row.slice(1)) : body;
  let labels: string[] | null = headed ? rows[0].slice(rows[0].length - cells.length) : null;
  if (named) {
    const own = body.map((row) => row[0]);
    const apart = labels?.findIndex((label, i) => label !== own[i]) ?? -1;
    if (labels && apart >= 0) {
      throw new Refusal(`row ${apart + 1} is named ${own[apart]} and column ${apart + 1} ${labels[apart]}: name them alike`);
    }
    labels = own;
  }
  return built(cells, labels, null);
}

/** Whether the first row holds names: of the columns alone, or behind a corner that is no number. */
function isHeaded(rows: string[][]): boolean {
  const isName = (text: string): boolean => !isNumber(text) && !isBlank(text);
  const width = rows[rows.length - 1].length;
  if (rows.length === width + 1 || rows[0].length === width - 1) return rows[0].every(isName);
  return !isNumber(rows[0][0]) && rows[0].slice(1).some(isName);
}

/** The matrix of these cells; whether they are counts is read off the diagonal where it is not known. */
function built(cells: string[][], names: string[] | null, counted: boolean | null): Loaded {
  const k = cells.length;
  const labels = names ?? range(k).map((i) => `y${i + 1}`);
  if (labels.length !== k) throw new Refusal(`${labels.length} names for ${k} responses: give one each`);
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (twice !== undefined) throw new Refusal(`two responses are named ${twice}: give each its own name`);
  const entries = cells.map((row, i) => {
    if (row.length !== k) throw new Refusal(`row ${labels[i]} has ${row.length} entries, but there are ${k} rows`);
    return row.map((text, j) => entry(text, labels, i, j));
  });
  const percent = cells.some((row) => row.some((text) => text.endsWith("%")));
  const shares = percent ? entries.map((row) => row.map((x) => x / 100)) : entries;
  const diagonal = shares.map((row, i) => row[i]).filter((x) => !Number.isNaN(x));
  const large = shares.some((row) => row.some((x) => x > 1));
  const isCounts = counted ?? (!percent && (diagonal.length ? diagonal.every((x) => x === 0) : large));
  if (!isCounts && !percent && diagonal.some((x) => x !== 0.5)) {
    const at = range(k).find((i) => shares[i][i] !== 0.5) ?? 0;
    throw new Refusal(`${cell(labels, at, at)} is ${cells[at][at]}: the diagonal must be all 0 (counts) or all 0.5`);
  }
  return { P: isCounts ? ofCounts(shares, labels) : filled(shares, labels, percent), labels };
}

function entry(text: string, labels: string[], i: number, j: number): number {
  if (isBlank(text)) return NaN;
  if (/^\d*,\d+%?$/.test(text)) throw new Refusal(`${cell(labels, i, j)} is ${text}: write decimals with a point`);
  if (!isNumber(text)) throw new Refusal(`${cell(labels, i, j)} is "${text}", must be a number`);
  return Number(text.replace(/\s*%$/, ""));
}

function ofCounts(counts: Matrix, labels: string[]): Matrix {
  return table(counts.length, (i, j) => {
    if (i === j) return 0.5;
    for (const [a, b] of [[i, j], [j, i]]) {
      const n = counts[a][b];
      if (!(n >= 0) || n % 1 !== 0) throw new Refusal(`${cell(labels, a, b)} is ${n}: a count is 0, 1, 2, ...`);
    }
    const total = counts[i][j] + counts[j][i];
    if (total === 0) throw new Refusal(`${cell(labels, i, j)} and the other way round are both 0: never compared`);
    return counts[i][j] / total;
  });
}

/** Of a pair of probabilities one may be blank; so may the diagonal. */
function filled(shares: Matrix, labels: string[], percent: boolean): Matrix {
  const P = table(shares.length, (i, j) => {
    const [own, other] = [shares[i][j], shares[j][i]];
    if (i === j) return Number.isNaN(own) || (percent && own === 0) ? 0.5 : own;
    if (Number.isNaN(own) && Number.isNaN(other)) {
      throw new Refusal(`${cell(labels, i, j)} is blank, and so is the other way round: one of them must be a number`);
    }
    return Number.isNaN(own) ? 1 - other : own;
  });
  return validate(P, labels);
}
