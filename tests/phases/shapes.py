"""Inventories of many shapes: those that travel with hardway, and what else an inventory may say."""

from dataclasses import replace
from pathlib import Path

from phase_models import LAB, cluster

from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.model import Cluster

INVENTORIES = ("lab", "lab-small", "single", "lab-pair", "vagrant")

STACKED = """\
cluster: stacked
domain: example.net
endpoint: api.example.net:8443
hosts: {hostname: keep, resolve: dns}
encryption: {provider: aescbc}
certs:
  key: rsa-2048
  extra_sans: [203.0.113.7, "2001:db8::7", kube.example.net, "*.kube.example.net"]
  authorities: {kubernetes: {certificate: ca.crt, key: ca.key}, etcd: {certificate: etcd.crt}}
network: {service_cidr: 10.96.0.0/16, pod_cidr: 10.100.0.0/16, proxy_mode: iptables, cluster_domain: k8s.example.net}
settings: {kubelet: {maxPods: 60}, haproxy: {}}
machines:
  k1: {role: [controller, worker], address: 10.0.8.11, labels: {disk: ssd}}
  k2: {role: [controller, worker], address: 10.0.8.12, taints: ["dedicated=db:NoSchedule", "spot:PreferNoSchedule"]}
  k3: {role: [controller, worker], address: 10.0.8.13}
"""
OWN_NETWORK = """\
cluster: own-network
endpoint: b1:8443
encryption: {provider: aesgcm, resources: [configmaps, secrets, widgets.example.org]}
network: {plugin: none}
machines:
  b1: {role: [load-balancer, controller], address: 10.0.8.11}
  b2: {role: controller, address: 10.0.8.12}
  b3: {role: controller, address: 10.0.8.13}
  b4: {role: controller, address: 10.0.8.14}
  b5: {role: controller, address: 10.0.8.15}
  w1: {role: worker, address: 10.0.8.21, settings: {kubelet: {maxPods: 30}}}
"""
DUAL = """\
cluster: dual
network:
  service_cidr: [10.96.0.0/16, "fd00:96::/112"]
  pod_cidr: [10.100.0.0/16, "fd00:100::/56"]
machines:
  lb: {role: load-balancer, address: [10.0.8.9, "fd00:8::9"]}
  k1: {role: controller, address: [10.0.8.11, "fd00:8::11"]}
  w1: {role: worker, address: [10.0.8.21, "fd00:8::21"]}
  w2: {role: worker, address: [10.0.8.22, "fd00:8::22"]}
"""


def written(text: str, folder: Path) -> Cluster:
    path = folder / "hardway.yaml"
    path.write_text(text)
    return allot_pod_cidrs(load(path), {})


def every_shape(folder: Path) -> list[Cluster]:
    formed = [replace(LAB, lab=None, hosts=replace(LAB.hosts, resolve="dns"))]
    return [
        *map(cluster, INVENTORIES),
        written(STACKED, folder),
        written(OWN_NETWORK, folder),
        written(DUAL, folder),
        *formed,
    ]
