/** Every figure and table of the paper in its place, with ours beside it. */
import { data } from "../data";
import { Replies } from "./Measured";
import { Html, N, Notes, Picture, Rests, Told } from "./common";

export function Paper() {
  const of = (id: string) => data.paper.find((item) => item.id === id);
  const one = (id: string) => {
    const item = of(id);
    if (!item) return null;
    return (
      <details class="item" id={`paper-${id}`} open={id.startsWith("figure")}>
        <summary>
          <strong>{item.title}</strong> <span class="ours">ours: {item.ours || "none"}</span>
        </summary>
        <Notes place={id} />
        <Picture address={item.picture} alt={item.title} />
        {item.html && <Html code={item.html} />}
        {(id === "table_5" || id === "table_7") && (
          <details>
            <summary>ours for Tables 5 and 7, at small size on a CPU</summary>
            <Told name="tables_5_7" />
          </details>
        )}
        <Rests on={item.source} />
      </details>
    );
  };
  return (
    <>
      <Notes place="paper" />
      {["figure_1", "figure_2"].map(one)}
      {["table_1", "table_2", "table_3", "table_4", "table_5"].map(one)}
      <details class="item" id="paper-table_6">
        <summary>
          <strong>Table 6. Notation</strong>
        </summary>
        <p>
          The paper's list of symbols. What does not fit in it is the claim <a href="#claim-table-6">table-6</a>; this page's
          words are explained <a href="#words">below</a>.
        </p>
      </details>
      {one("table_7")}
      <div class="item" id="paper-figure_3">
        <h3>Figures 3 to 5. Replies side by side</h3>
        <Replies />
      </div>
      <p>
        The paper's own numbers contradict its text or each other in <N k="table_2.contradictions" /> places of Table 2 and{" "}
        <N k="table_3.contradictions" /> of Table 3; each is written out below its table.
      </p>
    </>
  );
}
