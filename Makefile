# One target per job. Every target that needs the environment makes it first; a second call installs nothing.
PY = .venv/bin/python
STUDY = smoke
EXTRA_KEYS = metadata.papermill cell.metadata.papermill cell.metadata.execution

.DEFAULT_GOAL = help
.PHONY: help setup battles environments test test-long test-book test-slurm test-pythons study status bench gpu book serve slides-pdf grade recheck tensorboard lint format strip lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with the newest Python from 3.11 to 3.14 (PYTHON=... chooses) and the pins of env/requirements.txt
	@sh env/bootstrap.sh

.venv-study/installed: env/requirements-study.txt | setup
	@echo "setup: installing $< into .venv-study"
	@$(PY) -m venv .venv-study
	@.venv-study/bin/python -m pip install --quiet --disable-pip-version-check -r $< >.venv-study/install.log 2>&1 || { tail -n 1 .venv-study/install.log >&2; exit 1; }
	@touch $@

.venv-grading/installed: env/requirements-grading.txt | setup
	@echo "setup: installing $< into .venv-grading"
	@$(PY) -m venv .venv-grading
	@.venv-grading/bin/python -m pip install --quiet --disable-pip-version-check -r $< >.venv-grading/install.log 2>&1 || { tail -n 1 .venv-grading/install.log >&2; exit 1; }
	@touch $@

.venv/battles: env/requirements-battles.txt .venv/installed
	@echo "setup: installing $< into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $< >>.venv/install.log 2>&1 || { tail -n 1 .venv/install.log >&2; exit 1; }
	@touch $@

.venv/tensorboard: env/requirements-tensorboard.txt .venv/installed
	@echo "setup: installing $< into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $< >>.venv/install.log 2>&1 || { tail -n 1 .venv/install.log >&2; exit 1; }
	@touch $@

.venv/installed: | setup

battles: .venv/battles ## add what the battles need to .venv: JAX and JaxMARL

.venv/environments: env/requirements-environments.txt .venv/installed
	@echo "setup: installing $< into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $< >>.venv/install.log 2>&1 || { tail -n 1 .venv/install.log >&2; exit 1; }
	@touch $@

environments: .venv/environments ## add three packages of games to .venv: mpe2, lbforaging, rware

tensorboard: .venv/tensorboard ## add what log="tensorboard" needs to .venv; then .venv/bin/tensorboard --logdir runs/tensorboard

test: setup .venv-study/installed .venv/battles .venv/tensorboard .venv/environments .venv/serve ## run every check in one pytest run; ARGS="-k turn" narrows it
	@$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=25 $(ARGS)

test-long: setup .venv-study/installed .venv-grading/installed .venv/battles .venv/tensorboard .venv/environments .venv/browser .venv/serve ## run the long tests too; writes tests/reports/test-long.txt; ARGS="-m long" runs only those
	@test -d _build/html || $(PY) book/build.py
	@$(PY) tests/reports/write.py $(ARGS)

.venv/browser: env/requirements-browser.txt .venv/installed
	@echo "setup: installing $< into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $< >>.venv/install.log 2>&1 || { tail -n 1 .venv/install.log >&2; exit 1; }
	@touch $@

test-book: setup .venv/environments .venv/browser ## the built book in headless Chromium (needs Debian's chromium); writes tests/reports/test-book.txt
	@test -d _build/html || $(PY) book/build.py
	@$(PY) tests/reports/write.py --report test-book.txt tests/test_browser.py $(ARGS)

test-slurm: setup .venv-study/installed .venv/battles ## run a study through a real SLURM on this machine (env/slurm/one_machine.sh install); writes tests/reports/test-slurm.txt
	@$(PY) tests/reports/write.py --report test-slurm.txt tests/test_slurm.py $(ARGS)

test-pythons: setup ## run a quick suite under every Python from 3.11 to 3.14 that is here; writes tests/reports/test-pythons.txt
	@$(PY) tests/reports/pythons.py $(ARGS)

study: setup .venv-study/installed $(if $(findstring battles,$(STUDY)),.venv/battles) $(if $(findstring other_games,$(STUDY)),.venv/environments) ## train what a study lacks: STUDY=smoke, turn, rest, cause, departures, alpha, battles, other_games, or a file of your own; JOBS=2 at once; goes on after any interruption
	@$(PY) -m ciabook.studies.lab run "$(STUDY)" $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

status: setup ## how a study stands: done, running, failed and why, missing; the exit code says the same
	@$(PY) -m ciabook.studies.lab status "$(STUDY)" $(ARGS)

bench: setup .venv/battles ## measure speed beside the published structure, on one core; writes book/results/bench/
	@PYTHONPATH=tests $(PY) -m bench.measure $(ARGS)
	@PYTHONPATH=tests $(PY) -m bench.methods
	@PYTHONPATH=tests $(PY) -m bench.battles
	@PYTHONPATH=tests $(PY) -m bench.battle_training
	@PYTHONPATH=tests $(PY) -m bench.battle_rates
	@PYTHONPATH=tests $(PY) -m bench.battle_memory
	@PYTHONPATH=tests $(PY) -m bench.two_paths

.venv/gpu: .venv/battles
	@echo "setup: installing JAX's CUDA packages into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check "jax[cuda13]==$$(sed -n 's/^jax==//p' env/requirements-battles.txt)" >>.venv/install.log 2>&1 || { tail -n 1 .venv/install.log >&2; exit 1; }
	@touch $@

gpu: setup ## what needs an NVIDIA GPU: its first minutes, its tests, the speed there, the run time of every notebook
	@$(PY) env/gpu/first_minutes.py --ask
	@$(MAKE) --no-print-directory .venv/gpu
	@sh env/gpu.sh

book: setup .venv/environments ## train the two example runs and build the book; prints the page to open; ARGS="--device cuda" trains on a GPU
	@$(PY) book/build.py $(ARGS)

.venv/serve: env/requirements-serve.txt .venv/installed
	@echo "setup: installing $< into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $< >>.venv/install.log 2>&1 || { tail -n 1 .venv/install.log >&2; exit 1; }
	@touch $@

serve: setup .venv/serve ## show the built book to this network: its address and a QR code; PORT=8000 chooses
	@test -d _build/html || $(PY) book/build.py
	@$(PY) book/serve.py $(if $(PORT),--port $(PORT)) $(ARGS)

slides-pdf: setup .venv/browser ## print the slides of the built book to _build/slides.pdf (needs Chromium); NOTES=1 adds the speaker's notes
	@test -d _build/html || $(PY) book/build.py
	@$(PY) book/print_page.py "slides.html?print-pdf$(if $(NOTES),&notes)" _build/slides.pdf

grade: setup .venv-grading/installed ## grade student notebooks: SUBMISSIONS=a folder with a folder for every student
	@test -d "$(SUBMISSIONS)" || { echo "grade: SUBMISSIONS=$(SUBMISSIONS) is not a folder; name one with STUDENT/CHAPTER.ipynb." >&2; exit 2; }
	@.venv-grading/bin/python env/grade.py "$(SUBMISSIONS)" $(ARGS)

recheck: ## retrain the first evaluations of a committed run and compare: RUN=book/results/...
	@test -d "$(RUN)" || test -f "$$(dirname "$(RUN)").sealed" || { echo "recheck: RUN=$(RUN) is not a run folder; name one, e.g. make recheck RUN=book/results/<run>." >&2; exit 2; }
	@sh env/bootstrap.sh
	@mkdir -p _build/recheck
	@run=$$($(PY) -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve())' "$(RUN)") && $(PY) -m papermill notebooks/recheck.ipynb _build/recheck/recheck.ipynb \
		--cwd notebooks --kernel python3 --parameters run "$$run"
	@echo "The verdict is the last output of _build/recheck/recheck.ipynb"

lint: setup ## check style, formatting and import floors
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

format: setup ## format the code and sort its imports
	@$(PY) -m ruff check --select I --fix
	@$(PY) -m ruff format

strip: setup ## remove outputs and run metadata from the notebooks
	@$(PY) -m nbstripout --keep-id --extra-keys "$(EXTRA_KEYS)" notebooks/*.ipynb

lock: setup ## resolve the pins of env/ again from pyproject.toml
	@$(PY) env/lock.py

clean: ## remove what was built; .venv and runs/ stay
	@rm -rf _build build ciacore.egg-info .pytest_cache .ruff_cache .grimp_cache
	@find ciacore notebooks book tests env -name __pycache__ -prune -exec rm -rf {} +
