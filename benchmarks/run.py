"""Run every benchmark, one after another, and write the figures to ``benchmarks/results/``.

    python benchmarks/run.py [NAME ...]

Run it on a machine that does nothing else; the figures are ratios of contenders that take turns,
and still a busy machine spreads them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BENCHMARKS = {
    "rls_binding": [],
    "bulk_load": ["--json", str(RESULTS / "bulk_load.json")],
    "adoption": ["--json", str(RESULTS / "adoption.json")],
    "edge_cors": ["--json", str(RESULTS / "edge_cors.json")],
    "edge_headers": ["--json", str(RESULTS / "edge_headers.json")],
    "memory": [],
    "loop_lag": ["--json", str(RESULTS / "loop_lag.json")],
    "tokens": ["--json"],
    "dpop": ["--json"],
    "sessions": ["--json", str(RESULTS / "sessions.json")],
    "credentials": ["--json", str(RESULTS / "credentials.json")],
    "stores": ["--json", str(RESULTS / "stores.json")],
}


def main(wanted: list[str]) -> int:
    """Run the benchmarks called *wanted*, or all; 1 if one of them did not hold."""
    unknown = sorted(set(wanted) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
        return 2
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in wanted or BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *BENCHMARKS[name]]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    subprocess.run([sys.executable, str(HERE / "report.py")], check=True)
    if failed:
        print(f"\nnot as promised: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
