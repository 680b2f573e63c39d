// Reads {name: TeX} and writes {name: MathML}.
import { readFileSync } from "node:fs";
import katex from "katex";

const formulas = JSON.parse(readFileSync(0, "utf8"));
const made = Object.entries(formulas).map(([name, tex]) => [
  name,
  katex.renderToString(tex, { output: "mathml", throwOnError: true, strict: "ignore" }),
]);
process.stdout.write(JSON.stringify(Object.fromEntries(made)));
