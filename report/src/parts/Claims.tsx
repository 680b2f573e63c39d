/** What was claimed, and what is true: every verdict with its witness. */
import { signal } from "@preact/signals";
import { Claim, data } from "../data";
import { examplesOf, show } from "../explorer/state";
import { Notes, Rests } from "./common";

const GROUPS = { paper: "the paper's claims", errata: "its proofs, tables and appendix", own: "results of our own" } as const;
const verdict = signal("");
const group = signal("");
const words = signal("");

const matches = (claim: Claim): boolean =>
  (!verdict.value || claim.verdict === verdict.value) &&
  (!group.value || claim.group === group.value) &&
  (!words.value || JSON.stringify(claim).toLowerCase().includes(words.value.toLowerCase()));

function Filters() {
  const verdicts = [...new Set(data.verdicts.map((claim) => claim.verdict))];
  const count = (each: string): number => data.verdicts.filter((claim) => claim.verdict === each).length;
  return (
    <div class="filters" role="group" aria-label="which claims are shown">
      <button type="button" aria-pressed={!verdict.value} onClick={() => (verdict.value = "")}>
        all {data.verdicts.length}
      </button>
      {verdicts.map((each) => (
        <button key={each} type="button" class={`verdict ${each.replaceAll(" ", "-")}`} aria-pressed={verdict.value === each} onClick={() => (verdict.value = verdict.value === each ? "" : each)}>
          {each} {count(each)}
        </button>
      ))}
      <label>
        of{" "}
        <select value={group.value} onChange={(event) => (group.value = event.currentTarget.value)}>
          <option value="">all</option>
          {Object.entries(GROUPS).map(([key, name]) => (
            <option key={key} value={key}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        with the words <input type="search" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />
      </label>
    </div>
  );
}

function One({ claim }: { claim: Claim }) {
  const examples = examplesOf(claim.id);
  return (
    <details class="claim" id={`claim-${claim.anchor}`}>
      <summary>
        <span class={`verdict ${claim.verdict.replaceAll(" ", "-")}`}>{claim.verdict}</span> <strong>{claim.id}</strong>{" "}
        <span class="place">{claim.paper}</span>
        {claim.quote && (
          <span class="short">
            The paper: <q>{claim.quote}</q>
          </span>
        )}
        <span class="short">{claim.truth[0]}</span>
      </summary>
      {claim.quote && (
        <p>
          The paper: <q>{claim.quote}</q>
        </p>
      )}
      {claim.reading && <p>Read as: {claim.reading}</p>}
      <ul>
        {claim.truth.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
      {claim.missing && (
        <p>
          <strong>Missing assumption:</strong> {claim.missing}
        </p>
      )}
      <p class="witness">
        <strong>Witness:</strong> {claim.witness}
      </p>
      {examples.length > 0 && (
        <p>
          {examples.map((example) => (
            <button key={example.what} type="button" data-load={claim.id} onClick={() => show(example)} title={example.what}>
              Load {examples.length > 1 ? `“${example.what}”` : "this witness"} into the explorer
            </button>
          ))}
        </p>
      )}
      <details class="evidence">
        <summary>{claim.evidence.length} checks behind it</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label={`evidence of ${claim.id}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">shows that</th>
                <th scope="col">kind</th>
                <th scope="col">check</th>
                <th scope="col">finding</th>
              </tr>
            </thead>
            <tbody>
              {claim.evidence.map((each, n) => (
                <tr key={n}>
                  <td>{each.shows}</td>
                  <td>{each.kind}</td>
                  <td>{each.check}</td>
                  <td>{each.finding}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </details>
  );
}

export function Claims() {
  const shown = data.verdicts.filter(matches);
  return (
    <>
      <Notes place="verdicts" />
      <Filters />
      <p role="status" class="hint">
        {shown.length} of {data.verdicts.length} shown; each opens.
      </p>
      {shown.map((claim) => (
        <One key={claim.id} claim={claim} />
      ))}
      <Rests on="verdicts" />
    </>
  );
}
