"""What the components of a cluster will see of each other, whoever put it there: for the rules across artifacts."""

from hardway.probe.setup.model import Certificate, Component, Kubeconfig, MachineSetup, Provider, Setup

__all__ = ["Certificate", "Component", "Kubeconfig", "MachineSetup", "Provider", "Setup"]
