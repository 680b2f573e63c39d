/** Small pieces that every section uses. */
import type { ComponentChildren } from "preact";
import { data } from "../data";

/** A number of the prose, from the data by its key, with where it comes from. */
export function N({ k }: { k: string }) {
  const found = data.numbers[k];
  if (!found) return <span class="missing">(no result for {k})</span>;
  const source = data.sources[found.source];
  const about = `${source.file} · ${source.command} · seeds: ${source.seeds} · ${source.date}`;
  return (
    <span class="number" data-number={k} data-source={found.source} title={about}>
      {found.text}
    </span>
  );
}

/** Where the numbers above it come from. */
export function Rests({ on, called = "where these numbers come from" }: { on: string; called?: string }) {
  const source = data.sources[on];
  if (!source) return null;
  return (
    <details class="rests">
      <summary>{called}</summary>
      <dl>
        <dt>file</dt>
        <dd>{source.file}</dd>
        <dt>command</dt>
        <dd>
          <code>{source.command}</code>
        </dd>
        <dt>seeds</dt>
        <dd>{source.seeds}</dd>
        <dt>date</dt>
        <dd>{source.date}</dd>
        {source.parts.length > 0 && (
          <>
            <dt>computed from</dt>
            <dd>{source.parts.join(", ")}</dd>
          </>
        )}
      </dl>
    </details>
  );
}

/** What is missing at this place. */
export function Notes({ place }: { place: string }) {
  const notes = data.notes[place] ?? [];
  if (notes.length === 0) return null;
  return (
    <ul class="notes" data-place={place}>
      {notes.map((note) => (
        <li key={note}>{note}</li>
      ))}
    </ul>
  );
}

/** A formula that was made MathML when the page was built. */
export function Formula({ name }: { name: string }) {
  return <span class="formula" dangerouslySetInnerHTML={{ __html: data.formulas[name] ?? name }} />;
}

/** HTML that was made of the project's own Markdown when the page was built. */
export const Html = ({ code, as: As = "div" }: { code: string; as?: "div" | "span" }) => (
  <As class="told" dangerouslySetInnerHTML={{ __html: code }} />
);

export function Picture({ address, alt }: { address: string | null; alt: string }) {
  if (!address) return null;
  return (
    <div class="scroll picture" tabIndex={0} role="region" aria-label={alt}>
      <img src={address} alt={alt} />
    </div>
  );
}

export function Section({ id, title, children }: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      {children}
    </section>
  );
}

/** Words of the project's documents on one thing. */
export function Told({ name }: { name: string }) {
  const told = data.told[name];
  return (
    <>
      <Notes place={name} />
      {told && <Html code={told.html} />}
      {told && <Rests on={told.source} />}
    </>
  );
}
