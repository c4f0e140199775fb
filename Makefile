# The commands a person needs. PYTHON=python3.12 chooses the interpreter that .venv is made with.

PYTHON =
RUN = .venv/bin/python

.PHONY: bench bench-quick demo interop test test-long check format mutants clean runtime dev

# See two nodes prove who they are to each other and answer calls.
demo: runtime
	@$(RUN) scripts/demo.py

# Every check and every test; CI=1 turns what could not be checked into a failure.
test: dev
	@$(RUN) scripts/check.py

# The same with the full counts.
test-long: dev
	@$(RUN) scripts/check.py --long

# The checks without the tests.
check: dev
	@$(RUN) scripts/check.py --static

# Put every file into the form that the checks demand.
format: dev
	@$(RUN) scripts/generate_protos.py
	@.venv/bin/ruff check --quiet --fix .
	@.venv/bin/ruff format .

# Run the cases with peers of other makes and write docs/interop.md.
interop: dev
	@$(RUN) scripts/interop_page.py

# Measure every claim beside what a user would pick instead: bench-results/, and docs/performance.md. Under 15 minutes.
bench: dev
	@PYTHONPATH=scripts:tests $(RUN) -m bench --page docs/performance.md

# The same with fewer cases, in two minutes; it leaves the page alone.
bench-quick: dev
	@PYTHONPATH=scripts:tests $(RUN) -m bench --quick

# Take each defence away and see its test go red. Only the matching ones: make mutants K=tls
mutants: dev
	@$(RUN) scripts/mutants.py -k "$(K)"

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

runtime dev:
	@PYTHON="$(PYTHON)" sh scripts/venv.sh $@
