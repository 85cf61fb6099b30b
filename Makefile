# Every target makes .venv first, from requirements.lock alone. Nothing outside this folder is touched.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := $(BIN)/python -m pytest
WORKERS ?= 4
# A test that hangs is shown with its stack and ends its worker, rather than the patience of whoever waits.
BOUNDED := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

.PHONY: demo up test test-serializable check format faults prove soak fuzz soak-nfc bench bench-deps bench-lock lock contracts histories settlement-histories settlement-year clean
.DEFAULT_GOAL := demo

demo: $(STAMP)  ## start everything, play a business day, prove that it balances
	@$(BIN)/kessai demo

up: $(STAMP)  ## the platform on this machine, until Ctrl-C
	@$(BIN)/kessai up

test: $(STAMP)  ## the whole suite, without the long runs
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not soak" $(BOUNDED)

test-serializable: $(STAMP)  ## the same at PostgreSQL's strictest isolation level
	KESSAI_TEST_ISOLATION=serializable $(PYTEST) -n $(WORKERS) --dist worksteal -m "not soak" $(BOUNDED)

check: $(STAMP)  ## format, lint, types, imports, house rules, contracts
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(PYTEST) -q tests/house tests/contracts -m "not soak"

format: $(STAMP)
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

faults: $(STAMP)  ## fifty and more kills under load, and the whole fault matrix with its counts
	KESSAI_FAULT_ROUNDS=$${KESSAI_FAULT_ROUNDS:-50} $(PYTEST) tests/faults -m "soak or not soak"

prove: $(STAMP)  ## 1,000 corruptions found before and after the verdict; 100,000 healthy processings without an alarm
	KESSAI_TEST_PROCESSINGS=$${KESSAI_TEST_PROCESSINGS:-100000} $(PYTEST) -m soak tests/trace_cli

soak: $(STAMP)  ## the long runs
	$(PYTEST) -m soak

fuzz: $(STAMP)  ## 1,000,000 damaged card messages, 60,000 of them over real connections to real services
	$(BIN)/python -m kessai.sdk.iso8583.fuzz --messages 940000 --seed $${KESSAI_FUZZ_SEED:-1}
	KESSAI_FUZZ_MESSAGES=$${KESSAI_FUZZ_MESSAGES:-60000} $(PYTEST) -m soak -s tests/nfc/test_fuzzed_wire.py

soak-nfc: $(STAMP)  ## ten minutes of taps with faults at 10 %; then ours = the network's books, and all of it is proved
	KESSAI_SOAK_SECONDS=$${KESSAI_SOAK_SECONDS:-600} $(PYTEST) -m soak -s tests/nfc/test_soak.py

bench: $(STAMP)  ## every measurement, one JSON line each
	$(BIN)/kessai bench ledger --mode bulk --json
	$(BIN)/kessai bench ledger --mode single --clients 64 --json
	$(BIN)/kessai bench ledger --mode single --clients 1 --json
	$(BIN)/kessai bench ledger --mode hot --json
	$(BIN)/kessai bench ledger --mode hot --processes 2 --json
	$(BIN)/kessai bench ledger --mode grown --json
	$(BIN)/kessai bench charge --json
	$(BIN)/kessai bench charge --mix --json
	$(BIN)/kessai bench tracer --json
	$(BIN)/kessai bench books --json
	$(BIN)/kessai bench isolation --json
	$(BIN)/kessai bench workflow --mode recovery --json

bench-deps: $(STAMP)  ## what `kessai bench workflow` is compared with; `make bench-lock` resolves it anew
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-bench.lock

bench-lock: $(STAMP)
	echo dbos | $(BIN)/uv pip compile - --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --upgrade --quiet --no-header --no-annotate --output-file requirements-bench.lock

histories: $(STAMP)  ## record the histories of the platform's workflows anew (a decision: see tests/payment/test_histories.py)
	KESSAI_RECORD_HISTORIES=1 $(PYTEST) tests/payment/test_histories.py tests/settlement/test_histories.py tests/nfc/test_histories.py -k are_recorded -q

settlement-histories: $(STAMP)  ## random histories of merchants through the whole platform, to the yen (KESSAI_HISTORIES of them)
	$(PYTEST) -m soak -s tests/settlement/test_property_platform.py

settlement-year: $(STAMP)  ## a year of merchants with all its holidays, by the scheduler, each payout on its day
	$(PYTEST) -m soak tests/settlement/test_year_platform.py

contracts: $(STAMP)  ## write contracts/ anew from the doors
	$(BIN)/kessai contracts

lock: $(STAMP)  ## resolve requirements.lock anew; commit the result
	$(BIN)/uv pip compile pyproject.toml --group dev --group build --universal --python-version 3.11 \
		--generate-hashes --upgrade --quiet --no-header --output-file requirements.lock

clean:
	rm -rf .venv .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# pip brings uv (the very version and hashes of the lock), uv brings the rest, then the project itself, editable.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "kessai needs Python 3.11 or newer." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@awk '/^uv==/ {on = 1; print; next} /^[^ ]/ {on = 0} on' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
