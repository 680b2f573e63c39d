"""The tables of ``python benchmarks/one_pass.py``: ratios, throughput, and what they were measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from side_by_side import markdown


def name_of(key: str) -> str:
    """What a step is called in tables."""
    kind, _, size = key.partition(":")
    batch, rows = f"micro-batch {size}", f"rows of {size}" if size != "0" else "one tree a row"
    return {
        "ins": f"INS-DPO, one pass, {rows}",
        "dpo": f"plain DPO, one pass, {rows}",
        "averaged": f"averaged, one pass, {rows}",
        "anchored": f"anchored, one pass, {rows}",
        "two_rows": f"INS-DPO, two padded rows, {batch}",
        "causal": "plain causal, as many tokens",
        "trl": f"TRL plain DPO, no checkpointing, {batch}",
        "trl_checkpointed": f"TRL plain DPO, defaults, {batch}",
        "trl_grouped": f"TRL plain DPO, no checkpointing, by length, {batch}",
    }[kind]


def tables(results: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown."""
    heads = [f"MaxLen {result['setting']['max_length']}" for result in results]
    rows = [("step", "against", "target", *(f"{head}: wall (range)" for head in heads), *(f"{h}: CPU" for h in heads))]
    for index, line in enumerate(results[0]["ratios"]):
        ratios = [result["ratios"][index]["ratio"] for result in results]
        against = line["against"] if len({r["ratios"][index]["against"] for r in results}) == 1 else "TRL at its best"
        target = "" if line["target"] is None else f"<= {line['target']:.2f}"
        wall = (
            "out of memory" if r is None else f"{r['wall']:.2f} ({r['smallest']:.2f}-{r['largest']:.2f})"
            for r in ratios
        )
        rows.append((line["what"], against, target, *wall, *("" if r is None else f"{r['cpu']:.2f}" for r in ratios)))
    in_memory = (
        ("TRL plain DPO, defaults, micro-batch 8", "trl_checkpointed", "<= 1.00"),
        ("the same without checkpointing", "trl:", ""),
        ("TRL at its best", "trl_grouped", "<= 1.20"),
    )
    for against, prefix, target in in_memory if all(result["peak_bytes"] for result in results) else ():
        rows.append(
            (
                "peak memory of INS-DPO",
                against,
                target,
                *(_memory_ratio(r, prefix) for r in results),
                *("",) * len(heads),
            )
        )
    shares = (f"{100 * result['build_share']:.1f} %" for result in results)
    rows.append(("building trees", "INS-DPO's step", "< 3 %", *shares, *("",) * len(heads)))
    return markdown(rows) + "\n\n" + markdown(_throughput(results))


def _memory_ratio(result: dict[str, Any], prefix: str) -> str:
    peaks = result["peak_bytes"]
    ours = next(value for key, value in peaks.items() if key.startswith("ins"))
    theirs = next(value for key, value in peaks.items() if key.startswith(prefix))
    return "out of memory" if not ours or not theirs else f"{ours / theirs:.2f}"


def _throughput(results: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("MaxLen", "step", "seconds", "rows of tokens", "pairs/s", "tokens/s", "share of matrix peak", "peak memory")
    ]
    for result in results:
        for key, timing in result["timings"].items():
            if not timing["wall"]:
                continue
            seconds = sorted(timing["wall"])[len(timing["wall"]) // 2]
            peak, flops = result["peak_bytes"].get(key), result["flops"].get(key)
            rows.append(
                (
                    str(result["setting"]["max_length"]),
                    name_of(key),
                    f"{seconds:.2f}",
                    f"{result['tokens'][key]}",
                    f"{result['pairs'] / seconds:.2f}",
                    f"{result['tokens'][key] / seconds:.0f}",
                    f"{flops / seconds / result['matrix_peak']:.2f}" if flops else "",
                    f"{peak / 2**20:.0f} MiB" if peak else "",
                )
            )
    return rows


def describe(result: dict[str, Any]) -> str:
    """What a length was measured on."""
    prompt, chosen, rejected = result["mean_lengths"]
    return (
        f"MaxLen {result['setting']['max_length']}: {result['pairs']} pairs of {prompt:.0f} / {chosen:.0f} / "
        f"{rejected:.0f} tokens on average (prompt / chosen / rejected), {result['target_tokens']} target tokens; "
        f"TRL's fastest micro-batch {result['micro_batch']}, "
        + (f"rows of up to {result['token_budget']} tokens." if result["token_budget"] else "one tree a row.")
    )
