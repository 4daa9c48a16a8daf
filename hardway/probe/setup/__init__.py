"""What the components of a cluster will see of each other, for the rules across artifacts."""

from hardway.probe.setup.model import Certificate, Component, Kubeconfig, MachineSetup, Provider, Setup

__all__ = ["Certificate", "Component", "Kubeconfig", "MachineSetup", "Provider", "Setup"]
