"""The only I/O with machines: connections as ssh makes them, one root shell each, bulk streams, locks."""

from hardway.remote.fan_out import MachineErrors, fan_out
from hardway.remote.machine import Fleet, Machine
from hardway.remote.model import LOCK_PATH, AskSecret, ConnectionLost, MachineIO, Result, Target, run_with_retry

__all__ = [
    "LOCK_PATH",
    "AskSecret",
    "ConnectionLost",
    "Fleet",
    "Machine",
    "MachineErrors",
    "MachineIO",
    "Result",
    "Target",
    "fan_out",
    "run_with_retry",
]
