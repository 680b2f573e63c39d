/** Guided steps for a first visit: each is ticked off when the reader has done it. */
import { effect, signal } from "@preact/signals";
import { uniform } from "../math/matrices";
import { examplesOf, setReference, change, show, shown, solution } from "./state";

interface Step {
  text: string;
  hint: string;
  done: () => boolean;
  help: () => void;
}

const start = { picked: -1 };

const witness = (): boolean => shown.value.labels.length === 3;

const STEPS: Step[] = [
  {
    text: "Find a reference that flips the choice.",
    hint: "Move the dot, or a slider of the reference, until another answer is best without seeing y′. The best answers with y′ stay.",
    done: () => {
      const found = solution.value.found;
      if (!found) return false;
      if (start.picked < 0) start.picked = found.picks.identity;
      return found.picks.identity !== start.picked;
    },
    help: () => setReference([0.1, 0.1, 0.8].slice(0, shown.value.labels.length)),
  },
  {
    text: "Flip it without touching anything but psi.",
    hint: "With an even reference, let log-odds count in place of probabilities.",
    done: () => shown.value.psi === "log_odds" && solution.value.found?.picks.identity !== solution.value.found?.picks.log_odds,
    help: () => change({ mu: uniform(shown.value.labels.length), psi: "log_odds" }),
  },
  {
    text: "Make a cycle, so that no score fits.",
    hint: "Drag y1 over y3 down until y3 beats y1, and y1 over y2 up until y1 beats y2.",
    done: () => (solution.value.found?.cycles.length ?? 0) > 0,
    help: () => change({ P: [[0.5, 0.8, 0.2], [0.2, 0.5, 0.8], [0.8, 0.2, 0.5]], labels: ["y1", "y2", "y3"], mu: uniform(3), psi: "identity" }),
  },
  {
    text: "Make seeing the other answer worthless.",
    hint: "Let one answer be the best against all: then the gap is none.",
    done: () => (solution.value.found?.gap ?? 1) < 1e-9,
    help: () => change({ P: [[0.5, 0.8, 0.9], [0.2, 0.5, 0.6], [0.1, 0.4, 0.5]], labels: ["y1", "y2", "y3"], psi: "identity" }),
  },
  {
    text: "Look at a claim's witness.",
    hint: "Choose one in the list above, or go to the claims and load it from there.",
    done: () => /^[\w.-]+: /.test(shown.value.title),
    help: () => {
      const [example] = examplesOf("prop-3.1");
      if (example) show(example);
    },
  },
];

const done = signal<boolean[]>(STEPS.map(() => false));

effect(() => {
  const now = STEPS.map((step, n) => done.peek()[n] || (n > 0 && !done.peek()[n - 1] ? false : step.done()));
  if (now.some((each, n) => each !== done.peek()[n])) done.value = now;
});

export function Steps() {
  const next = done.value.indexOf(false);
  return (
    <ol class="steps" aria-label="first steps">
      {STEPS.map((step, n) => (
        <li key={n} class={done.value[n] ? "done" : n === next ? "next" : ""}>
          <span class="tick" aria-hidden="true">{done.value[n] ? "✓" : n + 1}</span>
          <div>
            <strong>{step.text}</strong>
            {done.value[n] && <span class="hidden"> done</span>}
            {n === next && (
              <p>
                {step.hint}{" "}
                <button type="button" class="quiet" onClick={step.help}>
                  show me
                </button>
              </p>
            )}
          </div>
        </li>
      ))}
      {!witness() && next >= 0 && <li class="aside">The steps are easiest with three answers.</li>}
    </ol>
  );
}
