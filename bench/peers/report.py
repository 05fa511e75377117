"""Results of compare.py as Markdown.

    python report.py results.json
"""

import json
import pathlib
import sys

NAMES = {"bessemer": "Bessemer", "eager": "PyTorch eager", "compile": "PyTorch `torch.compile`",
         "checkpoint": "PyTorch eager, blocks checkpointed"}
GIB = 2 ** 30


def heading(everything):
    machine = everything["machine"]
    about = [r["about"] for c in everything["comparisons"] for r in c["results"]]
    torch = next((a["ready"].split()[1] for a in about if a["ready"].startswith("PyTorch")), "?")
    peaks = {a["ready"].split()[1]: a["matmul_peak"] for a in about if "matmul_peak" in a}
    features = ", ".join(machine["features"])
    lines = [
        f"{machine['processor']}, {machine['cores']} cores ({features}), "
        f"{machine['memory_bytes'] / GIB:.0f} GiB; {machine['threads']} threads. "
        f"PyTorch {torch}; Bessemer {everything['commit']}.",
        f"`{everything['command'].strip()}`, {everything['date']}, load at the start "
        f"{machine['load_at_start']:.1f}.",
        "Measured matmul peak: "
        + ", ".join(f"{recipe} {peak / 1e9:.0f} GFLOP/s" for recipe, peak in peaks.items()) + "."]
    if "avx512_bf16" not in machine["features"]:
        lines.append("The processor has no bf16 instructions: bf16 saves memory traffic here, not "
                     "arithmetic, and PyTorch emulates it.")
    return "\n".join(lines)


def ours_of(comparison):
    return next((r for r in comparison["results"] if r["way"] == "bessemer"), None)


def memory_of(result):
    """Of the accelerator where it has its own, else of the process."""
    return result.get("peak_device_bytes") or result["peak_resident_bytes"]


def row(comparison, result):
    ours = ours_of(comparison)
    rate = result["tokens_per_second"]
    cells = [f"{comparison['case']}, B={comparison['batch']}, T={comparison['length']}",
             comparison["recipe"], NAMES[result["way"]], f"{result['median_seconds']:.3f}",
             f"{rate:.0f}"]
    if ours:
        about = ours["about"]
        cells.append(f"{100 * rate * about['flops_per_token'] / about['matmul_peak']:.0f}%")
    else:
        cells.append("")
    cells.append(f"{memory_of(result) / GIB:.2f}")
    if ours and result is not ours:
        cells.append(f"{ours['tokens_per_second'] / rate:.2f}x")
        cells.append(f"{memory_of(ours) / memory_of(result):.2f}x")
    else:
        cells += ["", ""]
    return "| " + " | ".join(cells) + " |"


def loss_row(comparison, result):
    ours = ours_of(comparison)["losses"]
    differences = [abs(a - b) / abs(b) for a, b in zip(ours, result["losses"])]
    return (f"| {comparison['case']} | {comparison['recipe']} | {NAMES[result['way']]} | "
            f"{len(differences)} | {ours[0]:.4f} → {ours[-1]:.4f} | {max(differences):.1e} |")


def across_recipes(comparisons):
    """PyTorch's best recipe against ours: bf16 where a processor emulates it is not PyTorch's best."""
    lines = []
    for case in dict.fromkeys(c["case"] for c in comparisons):
        results = [(c["recipe"], r) for c in comparisons if c["case"] == case
                   for r in c["results"]]
        best = {}
        for recipe, result in results:
            side = "ours" if result["way"] == "bessemer" else "theirs"
            if side not in best or result["median_seconds"] < best[side][1]["median_seconds"]:
                best[side] = (recipe, result)
        if len(best) == 2:
            ratio = best["theirs"][1]["median_seconds"] / best["ours"][1]["median_seconds"]
            lines.append(f"- {case}: Bessemer {best['ours'][0]} against the fastest PyTorch there "
                         f"({NAMES[best['theirs'][1]['way']]}, {best['theirs'][0]}): {ratio:.2f}x")
    return lines


def markdown(everything):
    comparisons = everything["comparisons"]
    lines = [heading(everything), "",
             "| model | recipe | | s/step (median) | tok/s | MFU | peak memory, GiB "
             "| Bessemer is faster | Bessemer's memory |",
             "|---|---|---|---|---|---|---|---|---|"]
    lines += [row(c, r) for c in comparisons for r in c["results"]]
    lines += ["", "Each side's fastest:", "", *across_recipes(comparisons)]
    lines += ["", "Losses, Bessemer against each:", "",
              "| model | recipe | against | steps | Bessemer's loss | largest relative difference |",
              "|---|---|---|---|---|---|"]
    lines += [loss_row(c, r) for c in comparisons if ours_of(c)
              for r in c["results"] if r["way"] != "bessemer"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(json.loads(pathlib.Path(sys.argv[1]).read_text())))
