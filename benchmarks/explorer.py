"""``python benchmarks/explorer.py``: how soon the page's explorer answers, in headless Chromium.

A key is pressed on a cell of the matrix, and the clock stops when the next picture with the new numbers is due. Beside
it stands the mathematics alone, of which gradient descent for InSPO is nearly all.
"""

from __future__ import annotations

import shutil
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from report.build import bundle, fill

SIZES = (3, 8, 12)
TURNS = 15
# Milliseconds of each turn: until the next picture, and of the mathematics alone.
MEASURE = """async (turns) => {
  const cell = document.querySelector('[data-cell="0,1"]');
  const found = [];
  for (let turn = 0; turn < turns; turn++) {
    const before = performance.now();
    cell.dispatchEvent(new KeyboardEvent("keydown", { key: turn % 2 ? "ArrowUp" : "ArrowDown", bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    found.push(performance.now() - before);
  }
  return found;
}"""
ALONE = """([k, turns]) => {
  const P = Array.from({ length: k }, (_, i) => Array.from({ length: k }, (_, j) => 1 / (1 + Math.exp((i - j) * 0.7))));
  const problem = { P, labels: P.map((_, i) => `y${i}`), mu: P.map(() => 1 / k), psi: "identity", beta: 1, tau: 0.3 };
  return Array.from({ length: turns }, () => {
    const before = performance.now();
    inspo.solve(problem);
    return performance.now() - before;
  });
}"""


def main() -> None:
    """Measure and print a table."""
    print("| responses | until the next picture, ms: median (most) | CPU of the page, ms | mathematics alone, ms |")
    print("|---|---|---|---|")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(fill(bundle(), {}))
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy() -> float:
            """Seconds of CPU that the page's main thread has had."""
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

        for k in SIZES:
            page.select_option("#size", str(k))
            before = busy()
            waited: Any = page.evaluate(MEASURE, TURNS)
            spent = 1000 * (busy() - before) / TURNS
            alone: Any = page.evaluate(ALONE, [k, TURNS])
            print(f"| {k} | {median(waited):.0f} ({max(waited):.0f}) | {spent:.0f} | {median(alone):.1f} |")
        browser.close()


if __name__ == "__main__":
    main()
