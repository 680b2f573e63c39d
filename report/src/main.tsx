import { render } from "preact";
import { Page } from "./Page";
import { followLink, read } from "./explorer/state";
import { solve } from "./math/solve";
import { parse } from "./tables";
import "./style.css";

// What tests hold to the Python package.
(window as unknown as Record<string, unknown>).inspo = { solve, parse };

render(<Page />, document.getElementById("page") as HTMLElement);
followLink();

// A table may be dropped anywhere.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer?.files ?? [];
  if (file) void read(file);
});

/** A link to a claim opens it. */
function openTarget(): void {
  const id = location.hash.slice(1);
  const target = id && !id.includes("=") && document.getElementById(id);
  if (!target) return;
  target.closest("details")?.setAttribute("open", "");
  target.scrollIntoView();
}
addEventListener("hashchange", openTarget);
openTarget();

// On paper nothing can be opened.
const closed = new Set<Element>();
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details:not([open]):not(.rests):not(.evidence)")) {
    closed.add(each);
    each.setAttribute("open", "");
  }
});
addEventListener("afterprint", () => {
  for (const each of closed) each.removeAttribute("open");
  closed.clear();
});
