/** V against KL: the largest V there is at each KL, and where each policy lies. */
import { Policy, PolicyName, Solution } from "../math/solve";
import { NAMES, MARKS } from "./names";

const [WIDTH, HEIGHT] = [460, 300];
const SIDES = { left: 52, right: 14, top: 12, bottom: 42 };

const ticks = (low: number, high: number): number[] => {
  const rough = (high - low) / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 5, 10].find((s) => s * size >= rough) ?? 10);
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: Math.floor((high - first) / step + 1e-9) + 1 }, (_, n) => Number((first + n * step).toPrecision(6)));
};

type Placed = Exclude<Policy, { kind: "none" }>;

export function Frontier({ found, unit }: { found: Solution; unit: string }) {
  const placed = (Object.entries(found.policies) as [PolicyName, Policy][]).filter(
    (pair): pair is [PolicyName, Placed] => pair[1].kind !== "none" && Number.isFinite(pair[1].kl),
  );
  const values = [...found.prompt, ...found.comparator, ...placed.map(([, policy]) => policy)];
  const most = Math.max(0.05, ...placed.map(([, policy]) => policy.kl)) * 1.08;
  const [low, high] = [Math.min(found.reference, ...values.map((p) => p.value)), Math.max(...values.map((p) => p.value))];
  const margin = Math.max(0.01, (high - low) * 0.08);
  const x = (kl: number): number => SIDES.left + (kl / most) * (WIDTH - SIDES.left - SIDES.right);
  const y = (v: number): number =>
    HEIGHT - SIDES.bottom - ((v - low + margin) / (high - low + 2 * margin)) * (HEIGHT - SIDES.top - SIDES.bottom);
  const line = (points: { kl: number; value: number }[]): string =>
    [...points, { kl: 0, value: found.reference }]
      .filter((p) => p.kl <= most * 1.5)
      .sort((a, b) => a.kl - b.kl)
      .map((p, n) => `${n ? "L" : "M"}${x(p.kl).toFixed(1)} ${y(p.value).toFixed(1)}`)
      .join("");
  return (
    <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label="V against KL of every policy; the table has the numbers">
      <clipPath id="plane">
        <rect x={SIDES.left} y={SIDES.top} width={WIDTH - SIDES.left - SIDES.right} height={HEIGHT - SIDES.top - SIDES.bottom} />
      </clipPath>
      {ticks(low - margin, high + margin).map((v) => (
        <g key={v}>
          <line class="grid" x1={SIDES.left} x2={WIDTH - SIDES.right} y1={y(v)} y2={y(v)} />
          <text x={SIDES.left - 6} y={y(v) + 4} text-anchor="end">{v}</text>
        </g>
      ))}
      {ticks(0, most).map((kl) => (
        <text key={kl} x={x(kl)} y={HEIGHT - SIDES.bottom + 17} text-anchor="middle">{kl}</text>
      ))}
      <text x={(SIDES.left + WIDTH) / 2} y={HEIGHT - 6} text-anchor="middle">KL from the reference, nats</text>
      <text transform={`translate(13 ${HEIGHT / 2 - 12}) rotate(-90)`} text-anchor="middle">V{unit}</text>
      <g clip-path="url(#plane)">
        <path class="frontier" d={line(found.prompt)} />
        <path class="frontier seeing" d={line(found.comparator)} />
      </g>
      <circle cx={x(0)} cy={y(found.reference)} r="4" class="reference" />
      {placed.map(([name, policy]) => (
        <g key={name} transform={`translate(${x(policy.kl).toFixed(1)} ${y(policy.value).toFixed(1)})`} class={`mark ${name}`}>
          <title>{NAMES[name]}</title>
          <path d={MARKS[name]} />
        </g>
      ))}
    </svg>
  );
}
