"""Runs the tests of the lab: those of the seven machines beside all others, and then what must be alone.

Most of the time of either is spent waiting for what a cluster does, so they are done sooner side by side. Where clients
count what fails, nothing else runs: on a busy computer they would count that.
"""

import signal
import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest", "--durations=25", "-m")
SHOWN = "lab and seven and not counted"
BESIDE = "lab and not (seven or counted or alone or vagrant)"
ALONE = "lab and (counted or alone)"


def main() -> int:
    # Ctrl-C reaches both processes as well: each takes its lab down, and is waited for.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen([*PYTEST, BESIDE], stdout=output, stderr=subprocess.STDOUT)
        shown = subprocess.Popen([*PYTEST, SHOWN])

        def end(number: int, frame: object) -> None:
            beside.terminate()
            shown.terminate()

        signal.signal(signal.SIGTERM, end)
        codes = [shown.wait(), beside.wait()]
        output.seek(0)
        print(output.read(), flush=True)
    if not any(codes):
        codes.append(subprocess.run([*PYTEST, ALONE], check=False).returncode)
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())
