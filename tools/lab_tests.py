"""Runs the tests of the lab: those of the seven machines beside all others, and then what must be alone.

Most of the time of either is spent waiting for what a cluster does, so they are done sooner side by side.
"""

import signal
import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest", "--durations=25", "-m")
SHOWN = "lab and seven"
BESIDE = "lab and not seven and not alone and not vagrant"
ALONE = "lab and alone and not vagrant"


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
