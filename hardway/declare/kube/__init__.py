"""Kubernetes' own texts, pure: kubeconfigs, encryption configuration, API objects."""
