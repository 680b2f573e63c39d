/** One sentence and one toy, before anything else. */
import { signal } from "@preact/signals";
import { data } from "../data";
import { Simplex } from "../explorer/Simplex";
import { pick } from "../math/flips";
import { conditionedValue, optima, piStar, column, scores, value, piBar } from "../math/objectives";
import { Vector, uniform } from "../math/matrices";
import { N } from "./common";

const example = data.examples.find((each) => each.claim === "thm-3.2-ii");
const mu = signal<Vector>(uniform(3));
const moved = signal(false);

export function FirstToy() {
  return (
    <div class="first">
      <p class="lead">
        InSPO trains a language model to prefer the better of two answers <em>while it looks at the other one</em>, and
        then uses it without looking. Seeing the other answer is worth something where the best answer depends on it; the
        model that is deployed does not see it.
      </p>
      {example && <Toy />}
      <p>
        Of the paper's <N k="claims.paper" /> claims <N k="claims.paper.true" /> are true,{" "}
        <N k="claims.paper.true_with_assumption" /> true with an added assumption, <N k="claims.paper.false" /> false,{" "}
        <N k="claims.paper.not_shown" /> not shown and <N k="claims.paper.outside_the_model" /> outside what tables of
        probabilities can tell: <a href="#claims">each with its witness</a>. Without the other answer in view, INS-DPO against
        DPO at equal KL: <N k="deployed.effect" />, <N k="deployed.verdict" />. With it, as a judge of two answers:{" "}
        <N k="judge.effect" />, <N k="judge.verdict" />. <a href="#use">Should you use it?</a>
      </p>
    </div>
  );
}

function Toy() {
  if (!example) return null;
  const { P, labels } = example;
  const chosen = pick(P, mu.value);
  const best = piStar(P);
  const answers = labels.map((_, j) => labels[optima(column(best, j)).indexOf(true)]);
  return (
    <div class="toy">
      <Simplex
        A={P}
        labels={labels}
        mu={mu.value}
        onMove={(next) => {
          moved.value = true;
          mu.value = next.map((m) => m / next.reduce((a, b) => a + b));
        }}
      />
      <div>
        <p class="ask">
          <strong>Drag the dot.</strong> It says how often the model you begin with gives each of three answers.
        </p>
        <p>
          The best answer <em>without</em> seeing what it is compared with is now{" "}
          <strong data-toy="pick">{labels[chosen]}</strong>, worth{" "}
          <output data-toy="without">{value(piBar(P, mu.value), P, mu.value).toFixed(3)}</output>.
        </p>
        <p>
          The best answers <em>with</em> it in view never change ({answers.map((answer, j) => `${answer} to ${labels[j]}`).join(", ")}
          ), and are worth <output data-toy="with">{conditionedValue(best, P, mu.value).toFixed(3)}</output>.
        </p>
        <p class="hint">
          {moved.value
            ? "That is Proposition 3.1 and Theorem 3.2 of the paper: the choice flips with the reference, and seeing never costs."
            : `Worth: how often it is preferred to an answer of that model, ${scores(P, mu.value).map((s, i) => `${labels[i]} ${s.toFixed(3)}`).join(", ")}.`}
        </p>
      </div>
    </div>
  );
}
