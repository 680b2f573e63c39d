/** The preference matrix: drag a cell sideways, or Up and Down on it by keyboard. */
import { signal } from "@preact/signals";
import { range } from "../math/matrices";
import { setPreference, shown } from "./state";

const PIXELS = 160; // from 0 to 1
const focused = signal<[number, number]>([0, 1]);

interface Drag {
  x: number;
  from: number;
}
let drag: Drag | null = null;

function moveTo(element: HTMLElement, i: number, j: number): void {
  const k = shown.value.P.length;
  const next: [number, number] = [(i + k) % k, (j + k) % k];
  focused.value = next;
  const target = element.closest("table")?.querySelector<HTMLElement>(`[data-cell="${next.join(",")}"]`);
  // Only now may it be reached by Tab.
  requestAnimationFrame(() => target?.focus());
}

function onKey(event: KeyboardEvent, i: number, j: number): void {
  const p = shown.value.P[i][j];
  const k = shown.value.P.length;
  const to: Record<string, number> = { ArrowUp: p + 0.01, ArrowDown: p - 0.01, PageUp: p + 0.1, PageDown: p - 0.1, Home: 0, End: 1 };
  if (event.key in to) setPreference(i, j, to[event.key]);
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const step = event.key === "ArrowRight" ? 1 : -1;
    let place = i * k + j + step;
    if (Math.floor(((place + k * k) % (k * k)) / k) === ((place + k * k) % (k * k)) % k) place += step;
    const at = (place + k * k) % (k * k);
    moveTo(event.currentTarget as HTMLElement, Math.floor(at / k), at % k);
  } else return;
  event.preventDefault();
}

function Cell({ i, j }: { i: number; j: number }) {
  const { P, labels } = shown.value;
  const p = P[i][j];
  const [a, b] = focused.value;
  const k = P.length;
  const current = (a < k && b < k && a !== b ? a === i && b === j : i === 0 && j === 1) ? 0 : -1;
  const share = Math.round(Math.abs(p - 0.5) * 110);
  return (
    <td
      class="cell"
      role="spinbutton"
      data-cell={`${i},${j}`}
      tabIndex={current}
      aria-label={`probability that ${labels[i]} is preferred to ${labels[j]}`}
      aria-valuenow={Number(p.toFixed(4))}
      aria-valuemin={0}
      aria-valuemax={1}
      style={{ background: `color-mix(in oklab, var(--${p >= 0.5 ? "win" : "lose"}) ${share}%, var(--panel))` }}
      onFocus={() => (focused.value = [i, j])}
      onKeyDown={(event) => onKey(event, i, j)}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        drag = { x: event.clientX, from: p };
      }}
      onPointerMove={(event) => {
        if (drag && event.currentTarget.hasPointerCapture(event.pointerId)) {
          const value = drag.from + (event.clientX - drag.x) / PIXELS;
          if (Math.abs(value - shown.value.P[i][j]) >= 0.005) setPreference(i, j, value);
        }
      }}
      onPointerUp={() => (drag = null)}
    >
      {p.toFixed(2)}
    </td>
  );
}

export function MatrixEditor() {
  const { P, labels } = shown.value;
  return (
    <div class="scroll">
      <table class="matrix" aria-label="preferences: how often the row is preferred to the column">
        <thead>
          <tr>
            <td />
            {labels.map((label) => (
              <th key={label} scope="col" title={label}>
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {range(P.length).map((i) => (
            <tr key={i}>
              <th scope="row" title={labels[i]}>
                {labels[i]}
              </th>
              {range(P.length).map((j) => (i === j ? <td key={j} class="diagonal" aria-hidden="true">–</td> : <Cell key={j} i={i} j={j} />))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
