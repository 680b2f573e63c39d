/** Flips, cycles and the gap, in sentences. */
import { Solution } from "../math/solve";
import { shown } from "./state";

const percent = (share: number): string => (share > 0 && share < 0.001 ? "less than 0.1 %" : `${(100 * share).toFixed(1)} %`);

const MANY = 4;

export function Findings({ found }: { found: Solution }) {
  const { labels, psi } = shown.value;
  const { identity, log_odds } = found.picks;
  const picked = psi === "identity" ? identity : (log_odds ?? identity);
  const real = found.policies.inspo_real;
  return (
    <dl class="findings" aria-live="polite">
      <dt>Gap</dt>
      <dd data-finding="gap">
        {found.gap < 1e-9
          ? "None: one answer is best against all, so seeing the other one is worth nothing."
          : `Seeing the other answer is worth up to ${found.gap.toFixed(4)}${psi === "identity" ? "" : " nats"}.`}
      </dd>
      <dt>Pick</dt>
      <dd data-finding="pick">
        Without seeing it, {labels[picked]} is best.{" "}
        {log_odds === null
          ? "A preference is certain, so log-odds say nothing."
          : log_odds === identity
            ? "Probabilities and log-odds agree on it."
            : `Probabilities say ${labels[identity]}, log-odds ${labels[log_odds]}: psi flips the choice.`}
      </dd>
      <dt>Flips</dt>
      <dd data-finding="flips">
        {found.flips.length === 0
          ? "No reference changes the pick."
          : `Moving ${percent(found.flips[0].share)} of the reference to ${labels[found.flips[0].toward]} makes it ${labels[found.flips[0].picks]}.`}
      </dd>
      <dt>Cycles</dt>
      <dd data-finding="cycles">
        {found.cycles.length === 0
          ? "None: who wins more often is in one order."
          : `${found.cycles.length}: ${found.cycles
              .slice(0, MANY)
              .map((cycle) => [...cycle, cycle[0]].map((i) => labels[i]).join(" > "))
              .join("; ")}${found.cycles.length > MANY ? "; and more" : ""}.`}{" "}
        The nearest scores miss a pair by up to {found.misfit.maxError.toFixed(3)}.
      </dd>
      <dt>At equal KL</dt>
      <dd data-finding="equal-kl">
        {real.kind === "comparator"
          ? `InSPO shown a real y′ has ${Math.abs(real.value - real.bestAtKl).toFixed(4)} ${real.value >= real.bestAtKl ? "more" : "less"} V than the best policy without one.`
          : ""}
      </dd>
    </dl>
  );
}
