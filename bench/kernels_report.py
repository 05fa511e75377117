"""The kernel benchmarks as Markdown, beside what the machine was measured to reach.

    python kernels_report.py DIR    DIR has NAME.json of each build/bench_NAME (Google Benchmark's
                                    JSON) and cache/bessemer/machine-N.json (bessemer doctor)
"""

import json
import pathlib
import sys


def achieved(benchmark, machine):
    """(rate, ceiling, unit) of one benchmark."""
    if "bytes_per_second" in benchmark:
        return benchmark["bytes_per_second"] / 1e9, machine["copy_bandwidth"] / 1e9, "GB/s"
    flops = benchmark.get("flop/s", benchmark.get("GFLOP/s", 0.0))
    if "GFLOP/s" in benchmark and flops < 1e6:  # the counter is in units of 1e9
        flops *= 1e9
    dtype = "bf16" if "bf16" in benchmark["name"] else "fp32"
    return flops / 1e9, machine[f"matmul_flops_{dtype}"] / 1e9, "GFLOP/s"


def milliseconds(benchmark):
    return benchmark["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}[
        benchmark["time_unit"]]


def table(path, machine):
    lines = ["| kernel | ms | achieved | ceiling | share |", "|---|---|---|---|---|"]
    for benchmark in json.loads(path.read_text())["benchmarks"]:
        rate, ceiling, unit = achieved(benchmark, machine)
        name = benchmark["name"].replace("/real_time", "")
        lines.append(f"| {name} | {milliseconds(benchmark):.2f} | {rate:.1f} {unit} "
                     f"| {ceiling:.1f} | {100 * rate / ceiling:.0f}% |")
    return lines


def main():
    directory = pathlib.Path(sys.argv[1])
    calibration, = (directory / "cache" / "bessemer").glob("machine-*.json")
    machine = json.loads(calibration.read_text())
    for path in sorted(directory.glob("*.json")):
        print(f"### {path.stem}\n")
        print("\n".join(table(path, machine)) + "\n")


if __name__ == "__main__":
    main()
