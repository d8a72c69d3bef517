# The two commands a newcomer needs are `make demo` and `make test`; both set up what they need.
PY := .venv/bin/python
READY := .venv/.ready

.PHONY: help setup demo test check fmt lint types layers proto proto-check integration faults simulate chaos \
	bench compat clean

help:                ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

$(READY): pyproject.toml constraints.txt scripts/setup
	@scripts/setup

setup: $(READY)      ## make .venv with the project and its tools

demo: $(READY)       ## stream INPUT=FILE through three brokers, kill a leader, check all
	@$(PY) examples/demo.py $(if $(INPUT),--input "$(INPUT)")

test: $(READY)       ## the test suite, real processes included; under three minutes
	@$(PY) -m pytest -q -n 3 --dist loadscope -m "not faults" tests

faults: $(READY)     ## brokers that are killed, hung, cut off, filled up, flooded; what takes long
	@$(PY) -m pytest -q -m faults tests

check: lint types layers proto-check  ## what a change must pass besides the tests

fmt: $(READY)        ## format the code
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix -q .

lint: $(READY)       ## ruff, rules and format
	@$(PY) -m ruff check -q . && $(PY) -m ruff format -q --check .

types: $(READY)      ## mypy --strict
	@$(PY) -m mypy

layers: $(READY)     ## who may import whom
	@.venv/bin/lint-imports --no-logo

proto: $(READY)      ## generate ottla/v1 from proto/, ottla/wire/messages from Kafka's schema
	@$(PY) scripts/generate_protos.py
	@$(PY) scripts/generate_messages.py

proto-check: $(READY) ## fail if generated code is stale
	@$(PY) scripts/generate_protos.py --check
	@$(PY) scripts/generate_messages.py --check

integration: $(READY) ## only the tests that start broker processes
	@$(PY) -m pytest -q -m integration tests

simulate: $(READY)   ## whole clusters in simulated time; SEEDS=1-200
	@.venv/bin/ottla simulate --seeds $(or $(SEEDS),1-200)

chaos: $(READY)      ## hurt three brokers under load, in containers where an engine runs; ROUNDS=12
	@$(PY) -m tests.chaos --rounds $(or $(ROUNDS),12) $(if $(SEED),--seed $(SEED)) $(if $(ON),--on $(ON))

bench: $(READY)      ## append, fetch and end-to-end figures, with the machine's limits beside them
	@$(PY) -m benchmarks.run

compat: $(READY)     ## other people's clients and tests; ONLY=SUITE[,..] CASE=X QUICK=1 DOCS=1 TARGET=kafka
	@$(PY) -m compat $(if $(ONLY),--only $(ONLY)) $(if $(CASE),--case $(CASE)) $(if $(QUICK),--quick) \
	  $(if $(DOCS),--update-docs) $(if $(TARGET),--target $(TARGET)) $(if $(JOBS),--jobs $(JOBS))

clean:               ## remove what was made
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
