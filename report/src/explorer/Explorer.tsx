/** The explorer: everything that can be set, and what follows from it. */
import { useState } from "preact/hooks";
import { data } from "../data";
import { TRAINING } from "../math/policies";
import { range, uniform } from "../math/matrices";
import { applyPsi } from "../math/objectives";
import { MOST } from "../tables";
import { Findings } from "./Findings";
import { Frontier } from "./Frontier";
import { MatrixEditor } from "./MatrixEditor";
import { PolicyTable } from "./PolicyTable";
import { Simplex } from "./Simplex";
import { Steps } from "./Steps";
import { color } from "./colors";
import { RANGES, change, complaint, read, resize, setReference, setShare, show, showTable, shown, solution, toHash } from "./state";

function Choose() {
  const choose = (event: Event): void => {
    const select = event.currentTarget as HTMLSelectElement;
    const [kind, number] = select.value.split(" ");
    if (kind === "example") show(data.examples[Number(number)]);
    if (kind === "table") showTable(data.tables[Number(number)]);
    select.value = "";
  };
  return (
    <label>
      Open{" "}
      <select id="open" onChange={choose}>
        <option value="">a counterexample, a witness or a table of people's choices ...</option>
        <optgroup label="counterexamples and witnesses">
          {data.examples.map((example, n) => (
            <option key={n} value={`example ${n}`}>
              {example.claim}: {example.what}
            </option>
          ))}
        </optgroup>
        <optgroup label="people's choices, and a judge's">
          {data.tables.map((table, n) => (
            <option key={n} value={`table ${n}`}>
              {table.name}
            </option>
          ))}
        </optgroup>
      </select>
    </label>
  );
}

function Own() {
  return (
    <label class="own">
      or your own CSV or JSON, also dropped anywhere:{" "}
      <input
        id="file"
        type="file"
        accept=".csv,.json,.txt"
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? [];
          if (file) void read(file);
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}

function Share() {
  const [said, say] = useState("");
  const copy = async (): Promise<void> => {
    const link = `${location.href.split("#")[0]}${toHash(shown.value)}`;
    try {
      await navigator.clipboard.writeText(link);
      say("copied");
    } catch {
      location.hash = toHash(shown.value);
      say("it is in the address now");
    }
  };
  return (
    <span class="share">
      <button type="button" onClick={() => void copy()}>
        Copy a link to this
      </button>{" "}
      <span role="status">{said}</span>
    </span>
  );
}

function Reference() {
  const { labels, mu } = shown.value;
  return (
    <fieldset class="reference">
      <legend>Reference: how often it gives each answer</legend>
      {labels.map((label, i) => (
        <label key={label} class="share-of">
          <span class="swatch" style={{ background: color(i) }} aria-hidden="true" />
          <span class="name" title={label}>{label}</span>
          <input
            type="range"
            min="0"
            max="1"
            step="0.01"
            value={mu[i]}
            onInput={(event) => setShare(i, Number(event.currentTarget.value))}
          />
          <output>{(100 * mu[i]).toFixed(0)} %</output>
        </label>
      ))}
      <button type="button" class="quiet" onClick={() => change({ mu: uniform(labels.length) })}>
        all alike
      </button>
    </fieldset>
  );
}

/** A slider whose steps are factors. */
function Factor({ name, range: [low, high], value, about, set }: { name: string; range: readonly [number, number]; value: number; about: string; set: (x: number) => void }) {
  return (
    <label class="share-of">
      <span class="name" title={about}>{name}</span>
      <input
        id={name}
        type="range"
        min={Math.log10(low)}
        max={Math.log10(high)}
        step="0.005"
        value={Math.log10(value)}
        aria-valuetext={value.toPrecision(2)}
        onInput={(event) => set(Math.min(high, Math.max(low, Number((10 ** Number(event.currentTarget.value)).toPrecision(3)))))}
      />
      <output>{value.toPrecision(2)}</output>
    </label>
  );
}

function Settings() {
  const { psi, beta, tau, labels } = shown.value;
  return (
    <fieldset>
      <legend>What counts, and how far policies go</legend>
      <div class="psi" role="radiogroup" aria-label="psi">
        {(["identity", "log_odds"] as const).map((each) => (
          <label key={each}>
            <input type="radio" name="psi" checked={psi === each} onChange={() => change({ psi: each })} />{" "}
            {each === "identity" ? "probabilities" : "log-odds"}
          </label>
        ))}
      </div>
      <Factor name="beta" range={RANGES.beta} value={beta} about="of DPO and InSPO: weight of the KL" set={(x) => change({ beta: x })} />
      <Factor name="tau" range={RANGES.tau} value={tau} about="of IPO: price of a nat of KL" set={(x) => change({ tau: x })} />
      <label class="share-of">
        <span class="name">answers</span>
        <select id="size" value={labels.length} onChange={(event) => resize(Number(event.currentTarget.value))}>
          {range(MOST - 1).map((n) => (
            <option key={n} value={n + 2}>
              {n + 2}
            </option>
          ))}
        </select>
        <output />
      </label>
    </fieldset>
  );
}

export function Explorer() {
  const { P, labels, mu, psi, title } = shown.value;
  const { found, why } = solution.value;
  const table = data.tables.find((each) => each.name === title);
  return (
    <div class="explorer">
      <div class="choose">
        <Choose />
        <Own />
        <Share />
      </div>
      {complaint.value && (
        <p class="complaint" role="alert">
          {complaint.value}
        </p>
      )}
      <p class="title" data-title>
        <strong>Shown:</strong> {title}
        {table && ` (${[table.about, table.key].filter(Boolean).join(" ")})`}
      </p>
      <Steps />
      <div class="board">
        <div class="set">
          <h3>How often the row beats the column</h3>
          <div class="drag">
            <MatrixEditor />
            {labels.length === 3 && found && <Simplex A={applyPsi(P, psi, labels)} labels={labels} mu={mu} onMove={setReference} />}
          </div>
          <p class="hint">
            Drag a number sideways; on the keyboard Up and Down change it, Left and Right go to the next.
            {labels.length === 3 && " The triangle is all references, in the color of what is best there without y′; the dot is this one."}
          </p>
          <div class="settings">
            <Reference />
            <Settings />
          </div>
        </div>
        <div class="get">
          <h3>What follows</h3>
          {why && <p class="complaint" role="alert">{why}</p>}
          {found && (
            <>
              <PolicyTable found={found} labels={labels} />
              <Frontier found={found} unit={psi === "identity" ? "" : ", nats"} />
              <p class="hint">
                Solid: the most that a policy without y′ can be worth at each KL; dashed: one that sees it. InSPO is trained
                by {TRAINING.steps} steps of gradient descent on all pairs, rate {TRAINING.rate}, with scores of answers
                shared between the policy that sees y′ and the one that is deployed.
              </p>
              <Findings found={found} />
            </>
          )}
        </div>
      </div>
    </div>
  );
}
