# Thin on purpose: these are the commands that a user types, in order. See tools/prepare.
.PHONY: up down vagrant-up vagrant-down vagrant-test test unit bench conformance soak docs
INVENTORY ?= inventories/lab.yaml
VAGRANT_INVENTORY := inventories/vagrant.yaml
# A Go toolchain that tools/prepare had to bring is in .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
HARDWAY := .venv/bin/hardway
# Tests start a sshd of their own and raise labs.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

up: ## a cluster to use: tools, binaries, seven lab machines, hardway init, smoke test
	@tools/prepare
	$(HARDWAY) artifacts get --yes --inventory $(INVENTORY)
	$(HARDWAY) lab up --inventory $(INVENTORY)
	$(HARDWAY) init --yes --inventory $(INVENTORY)

down: ## take the lab down and put this computer's settings back
	$(HARDWAY) lab down --inventory $(INVENTORY)

vagrant-up: ## a cluster on machines that Vagrant makes (docs/operate/vagrant.md)
	@tools/prepare --vagrant
	@tools/vagrant check
	$(HARDWAY) artifacts get --yes --inventory $(VAGRANT_INVENTORY)
	tools/vagrant up
	$(HARDWAY) init --yes --accept-new-host-keys --inventory $(VAGRANT_INVENTORY)

vagrant-down: ## destroy these machines, and put this computer's settings back
	tools/vagrant down

vagrant-test: ## vagrant up, init, smoke test, a second run, vagrant destroy: with the provider that is there
	@tools/prepare --tests
	$(HARDWAY) artifacts get --yes --inventory $(VAGRANT_INVENTORY)
	.venv/bin/pytest -m vagrant tests/lab/test_vagrant.py

test: ## every test there is, the lab's included
	@tools/prepare --tests
	shellcheck tools/prepare tools/vagrant vagrant/lxc/lxc-template .ci/run
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/hardway artifacts get --yes --inventory $(INVENTORY)
	$(ROOT) .venv/bin/pytest --cov -m "not lab"
	$(ROOT) .venv/bin/pytest --durations=25 -m "lab and not vagrant"
	$(MAKE) vagrant-test

unit: ## what needs neither root nor network
	@tools/prepare --tests
	.venv/bin/pytest --cov -m "not lab"

bench: ## how long things take, and why; needs the lab
	$(ROOT) .venv/bin/python -m tests.bench cpu
	.venv/bin/python -m tests.bench

conformance: ## Kubernetes' own suite on the lab's cluster (docs/operate/conformance.md); SHORT=1 for its quickest tests
	@tools/prepare --tests
	$(ROOT) .venv/bin/python -m tests.conformance -i $(INVENTORY) $(if $(SHORT),--short)

soak: ## long series: 1000 simulated machines, killed runs, rolls under load, bad settings, conformance; takes hours
	@tools/prepare --tests
	.venv/bin/hardway artifacts get --yes --inventory $(INVENTORY)
	$(ROOT) .venv/bin/python -m tests.bench growth
	$(ROOT) env HARDWAY_EXAMPLES=100 .venv/bin/pytest -q tests/unit/test_engine_cut.py tests/unit/test_rollout_cut.py tests/unit/test_rotations.py tests/unit/test_controllers.py \
	  tests/unit/test_upgrade.py tests/contract/test_etcdctl.py
	$(ROOT) env HARDWAY_GROWS=1 .venv/bin/pytest -s tests/lab/test_five_controllers.py
	$(ROOT) env HARDWAY_ROLLS=10 .venv/bin/pytest -s tests/lab/test_cluster_4_under_load.py
	$(ROOT) env HARDWAY_KILLS=30 .venv/bin/pytest -s tests/lab/test_cluster_4_kills.py
	$(ROOT) env HARDWAY_UPGRADES=1 .venv/bin/pytest -s tests/lab/test_upgrades.py
	$(ROOT) env HARDWAY_SETTINGS=all .venv/bin/pytest tests/lab/test_cluster_4_settings.py
	$(ROOT) env HARDWAY_FAULTS=all .venv/bin/pytest tests/lab/test_break.py
	$(ROOT) env HARDWAY_IN_TURN=all .venv/bin/pytest -m in_turn tests/lab
	$(MAKE) up conformance down

docs: ## the documentation as a site, in build/site; with its generated parts
	@tools/prepare --tests
	.venv/bin/python -m tools.docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
