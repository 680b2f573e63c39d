/** What was measured: the toy, three worlds, replies of a real model, speed. */
import { signal } from "@preact/signals";
import { Row, World, data } from "../data";
import { Html, N, Notes, Picture, Rests, Told } from "./common";

const everything = signal(false);

/** An interval around its mean; zero is the middle line. */
function Interval({ row, most }: { row: Row; most: number }) {
  if (row.mean === undefined || row.low === undefined || row.high === undefined) return <span />;
  const x = (value: number): number => 50 + (50 * Math.max(-most, Math.min(most, value))) / most;
  return (
    <svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <line class="zero" x1="50" x2="50" y1="0" y2="12" />
      <line class="reach" x1={x(row.low)} x2={x(row.high)} y1="6" y2="6" />
      <rect class="mean" x={x(row.mean) - 0.8} y="2.5" width="1.6" height="7" />
    </svg>
  );
}

function Answers({ world }: { world: World }) {
  const rows = world.rows.filter((row) => everything.value || row.mean !== undefined);
  // One scale a unit, set by the means; an interval may leave it.
  const most = (unit: string): number =>
    1.3 * Math.max(0.05, ...rows.filter((row) => row.unit === unit).map((row) => Math.abs(row.mean ?? 0)));
  return (
    <ul class="answers">
      {rows.map((row) => (
        <li key={row.name} class={row.verdict.split(/[:,]/)[0].replaceAll(" ", "-")}>
          <span class="question">{row.question}</span>
          <Interval row={row} most={most(row.unit)} />
          <span class="effect" title={row.source && `seeds: ${data.sources[row.source].seeds}`}>
            {row.mean === undefined || row.se === undefined ? "" : `${row.mean >= 0 ? "+" : "−"}${Math.abs(row.mean).toFixed(3)} ± ${row.se.toFixed(3)} ${row.unit}, ${row.seeds} seeds`}
          </span>
          <span class="said">{row.verdict}</span>
          {row.source && <Rests on={row.source} called="source" />}
        </li>
      ))}
    </ul>
  );
}

const TITLES: Record<string, string> = { language: "A language with a known judge", selfplay: "Self-play", smol: "A real model" };
const CAPTIONS: Record<string, string> = {
  language: "What each policy is worth: deployed, as a reviser, as a judge",
  selfplay: "Self-play, round by round",
  smol: "SmolLM2: reward and win rate against KL",
};

/** Worlds with results, and those of which something is missing. */
const NAMES = [
  ...new Set([
    ...data.worlds.map((each) => each.name),
    ...Object.keys(data.notes).filter((place) => place.startsWith("world-")).map((place) => place.slice("world-".length)),
  ]),
];

function Worlds() {
  return (
    <>
      <p>
        The true preference is known here, so that nothing is left to a judge's mood. Each line is a question that was
        written down before its runs: a difference between two ways of training with the same seeds, its 95 % interval from
        these references, and the answer after a correction for all questions of its world.{" "}
        <button type="button" class="quiet" aria-pressed={everything.value} onClick={() => (everything.value = !everything.value)}>
          {everything.value ? "hide" : "show"} questions without an answer yet
        </button>
      </p>
      {NAMES.map((name) => {
        const world = data.worlds.find((each) => each.name === name);
        return (
          <div key={name} class="world" id={`world-${name}`}>
            <h3>{TITLES[name] ?? `The world of ${name}`}</h3>
            <Notes place={`world-${name}`} />
            {world && (
              <>
                <p>
                  {world.about[0].toUpperCase() + world.about.slice(1)}. <N k={`${name}.trainings`} /> trainings,{" "}
                  <N k={`${name}.hours`} /> hours of one core; <N k={`${name}.decided`} /> of <N k={`${name}.asked`} /> questions
                  are decided.
                </p>
                <Answers world={world} />
                <Picture address={world.picture} alt={CAPTIONS[name] ?? world.about} />
                <Rests on={`world-${name}`} />
              </>
            )}
          </div>
        );
      })}
      <Notes place="measured" />
    </>
  );
}

export function Replies() {
  const found = data.generations;
  return (
    <>
      <Notes place="generations" />
      {found && (
        <>
          <p>
            The form of the paper's Figures 3 to 5, from real generations: {found.about.model} as it was, after DPO and after
            INS-DPO, each the likeliest tokens, at most {found.about.max_tokens}. It is a small model, trained for minutes on{" "}
            {found.about.data}; the paper's are of 7B and 8B models, chosen by its authors. These are the first prompts of its validation set, none
            chosen.
          </p>
          <div class="replies">
            {found.replies.map((each) => (
              <article key={each.prompt}>
                <h4>{each.prompt}</h4>
                {(["base", "dpo", "ins"] as const).map((who) => (
                  <div key={who}>
                    <h5>{{ base: "as it was", dpo: "DPO", ins: "INS-DPO" }[who]}</h5>
                    <p>
                      {each[who].text}
                      {each[who].ended ? "" : " ..."}
                    </p>
                  </div>
                ))}
              </article>
            ))}
          </div>
          <Rests on={found.source} />
        </>
      )}
    </>
  );
}

function Toy() {
  return (
    <>
      <Notes place="toy" />
      {data.toy.map((plot) => (
        <figure key={plot.name} id={`plot-${plot.name}`}>
          <Picture address={plot.picture} alt={`the toy's plot ${plot.name}`} />
          <figcaption>
            <Html code={plot.finding} />
            <Html code={plot.number} />
            <details>
              <summary>how to read it</summary>
              <Html code={plot.how} />
            </details>
          </figcaption>
        </figure>
      ))}
      <Rests on="toy" />
    </>
  );
}

export function Measured() {
  return (
    <>
      <h3>Tables of probabilities</h3>
      <Toy />
      <Worlds />
      <h3>Speed and memory</h3>
      <Told name="cost" />
    </>
  );
}
