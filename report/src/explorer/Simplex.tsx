/** All references on three responses, in the color of what pi_bar picks there; the dot is the one that is chosen. */
import { useMemo, useRef } from "preact/hooks";
import { Matrix, Vector } from "../math/matrices";
import { color } from "./colors";

const HEIGHT = Math.sqrt(3) / 2;
const STEP = 0.02;

/** Corners: the first response left, the second right, the third on top. */
const place = (mu: Vector): [number, number] => [mu[1] + mu[2] / 2, HEIGHT * (1 - mu[2])];

const CORNERS: Vector[] = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];

/** What is left of a polygon where the lead, which is linear in mu, is not negative. */
function clip(polygon: Vector[], lead: Vector): Vector[] {
  const at = (mu: Vector): number => mu.reduce((total, m, j) => total + m * lead[j], 0);
  return polygon.flatMap((corner, n) => {
    const next = polygon[(n + 1) % polygon.length];
    const [here, there] = [at(corner), at(next)];
    const kept = here >= 0 ? [corner] : [];
    if (here >= 0 === there >= 0) return kept;
    return [...kept, corner.map((m, j) => m + (here / (here - there)) * (next[j] - m))];
  });
}

/** The references for which each response is best, as a path. */
const regions = (A: Matrix): string[] =>
  A.map((row, i) => {
    const polygon = A.reduce((left, other, l) => (l === i ? left : clip(left, row.map((a, j) => a - other[j]))), CORNERS);
    return polygon.length ? `M${polygon.map((mu) => place(mu).map((x) => x.toFixed(4)).join(" ")).join("L")}Z` : "";
  });

interface Props {
  A: Matrix;
  labels: string[];
  mu: Vector;
  onMove: (mu: Vector) => void;
}

export function Simplex({ A, labels, mu, onMove }: Props) {
  const svg = useRef<SVGSVGElement>(null);
  const paths = useMemo(() => regions(A), [A]);
  const [x, y] = place(mu);
  // Keys may come faster than pictures.
  const latest = useRef(mu);
  latest.current = mu;
  const tell = (next: Vector): void => {
    const kept = next.map((m) => Math.min(1, Math.max(0, m)));
    latest.current = kept;
    onMove(kept);
  };

  const move = (event: PointerEvent): void => {
    const box = svg.current?.getScreenCTM();
    if (!box || event.buttons !== 1) return;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(box.inverse());
    const top = 1 - point.y / HEIGHT;
    const right = point.x - top / 2;
    tell([1 - right - top, right, top]);
  };
  const key = (event: KeyboardEvent): void => {
    const [dx, dy] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const [left, right, top] = latest.current;
    tell([left - dx - dy / 2, right + dx - dy / 2, top + dy]);
  };
  const said = labels.map((label, i) => `${label} ${Math.round(100 * mu[i])} %`).join(", ");
  return (
    <svg
      ref={svg}
      class="simplex"
      viewBox="-0.12 -0.14 1.24 1.14"
      role="group"
      aria-label="references on three responses"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        move(event);
      }}
      onPointerMove={move}
    >
      {paths.map((path, i) => (
        <path key={i} d={path} fill={color(i)} stroke={color(i)} stroke-width="0.004" opacity="0.75" />
      ))}
      <text x="0" y={HEIGHT + 0.09} text-anchor="middle">{labels[0]}</text>
      <text x="1" y={HEIGHT + 0.09} text-anchor="middle">{labels[1]}</text>
      <text x="0.5" y="-0.05" text-anchor="middle">{labels[2]}</text>
      <circle
        class="handle"
        cx={x}
        cy={y}
        r="0.035"
        tabindex={0}
        role="slider"
        aria-label="the reference"
        aria-valuetext={said}
        aria-valuenow={Math.round(100 * mu[2])}
        aria-valuemin={0}
        aria-valuemax={100}
        onKeyDown={key}
      />
    </svg>
  );
}
