# SPDX-License-Identifier: MIT
# Everything works on a fresh machine with Python 3.11 or newer and its venv module: .venv is set up as needed, with the
# releases that share/requirements*.txt name, so that no release of others can break it.

PYTHON ?= python3
VENV := .venv/bin
STYLE := --line-length 120 --target-version py311
RULES := --select E,F,I,B,UP,SIM,RUF,PIE,C4,ANN201 --ignore RUF012 --per-file-ignores 'tests/*:E501' --per-file-ignores 'tests/*:RUF001' --per-file-ignores 'tests/*:SIM905'
SOURCE := pdudaemon tests pduclient
PIP := $(VENV)/pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --require-hashes --requirement $< && \
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
UV := uv==0.13.9
COMPILE := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
BOOT := $(PYTHON) -m tests.vm.machine $(addprefix --release ,$(RELEASE))
# What git tracks, or what an sdist that has been unpacked has.
TRACKED = $(if $(wildcard PKG-INFO),tr '\n' '\0' <pdudaemon.egg-info/SOURCES.txt,git ls-files -z)
DEBS = $$(printf -- '--deb %s ' $(addsuffix /,dist$(addprefix /,$(RELEASE)))pdudaemon*_all.deb)

help:  ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready  ## start the daemon on loopback with demonstration PDUs; Ctrl-C ends it
	@echo 'Listening on 127.0.0.1 port 16421, HTTP and TCP. Open http://localhost:16421 in a browser, or try, in another terminal:'
	@echo
	@echo "  curl 'http://127.0.0.1:16421/power/control/on?hostname=pdu01&port=3'"
	@echo "  curl 'http://127.0.0.1:16421/power/control/status?hostname=pdu01&port=3'"
	@echo "  curl 'http://127.0.0.1:16421/power/control/reboot?alias=board7&delay=2'"
	@echo '  ./pduclient --daemon localhost --hostname pdu01 --port 03 --command off'
	@echo '  $(VENV)/pdudaemon --conf share/pdudaemon.conf --drive --hostname pdu01 --port 1 --request on'
	@echo '  ./pduclient status --url http://localhost:16421 --groups demo'
	@echo "  curl http://127.0.0.1:16421/api/v1/pdus"
	@echo
	@exec $(VENV)/pdudaemon --conf share/pdudaemon.conf

# Tests wait more than they work, hence more workers than processors, and still more where these are idle nevertheless.
test: .venv/test  ## run every test; or some, at once and in one process: make test TESTS=tests/engine/test_order.py
	env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/bytecode \
		$(VENV)/python -m pytest -q $(or $(TESTS),--workers 16 --more-workers 16)

test-newest: .venv/test  ## test a part on the newest release of everything, and say which one broke what
	$(VENV)/python -m tests.support.newest

test-peers: .venv/test  ## test against labgrid, Slurm, Ansible, Ruby, Home Assistant, Kasa, AWS and Redfish (downloads about 1 GB once)
	$(VENV)/python -m tests.peers_slow

test-cuts: .venv/test  ## cut the power under a loaded daemon, CUTS times, on a disk that loses what was not synced
	@CUTS=$(or $(CUTS),200) CUTS_REPORT=$$(mktemp) sh -c '$(VENV)/python -m pytest -q --workers 2 tests/engine/test_powercut.py; \
		failed=$$?; cat "$$CUTS_REPORT"; rm -f "$$CUTS_REPORT"; exit $$failed'

test-usb:  ## test with USB devices and GPIO chips, in a virtual machine with Debian's kernel (as root; see tests/vm/machine.py)
	$(BOOT) --gpio-sim python3 -m pytest -v -p no:cacheprovider tests/vm/test_usb.py tests/vm/test_gpio.py

test-container: .venv/test  ## build the container's image and try it (as root; needs buildah, podman, crun, catatonit, mmdebstrap)
	$(VENV)/python -m pytest -v -p no:cacheprovider tests/vm/test_container.py

test-ha: export DEB_BUILD_OPTIONS := nocheck
test-ha: deb .venv/test  ## hurt two nodes under Pacemaker (as root; HA_ROUNDS=100 takes an hour; see tests/vm/test_ha.py)
	$(VENV)/python -m pytest -v -s -p no:cacheprovider tests/vm/test_ha.py tests/vm/test_ha_faults.py

dist: .venv/test  ## build wheel and sdist, into dist/
	$(VENV)/python -m build --no-isolation --outdir dist . >/dev/null

deb:  ## build the Debian packages from the tracked files, into dist/; RELEASE=trixie: those of another Debian, in a container (as root)
ifdef RELEASE
	rm -rf dist/$(RELEASE)
	$(BOOT) --idle --fetch dist/$(RELEASE) tests/vm/build '$(DEB_BUILD_OPTIONS)'
else
	@set -e; copy=$$(mktemp --directory); trap 'rm -rf "$$copy"' EXIT; mkdir -p dist "$$copy/pdudaemon"; \
	$(TRACKED) | tar --create --null --files-from=- | tar --extract --directory="$$copy/pdudaemon"; \
	(cd "$$copy/pdudaemon" && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --no-sign); \
	rm -f dist/pdudaemon_* dist/pdudaemon-client_*; cp "$$copy"/pdudaemon*_* dist/
endif

test-deb:  ## build the packages in dist/ once more, elsewhere, in other surroundings: they must be the same, bit by bit
	@set -e; sums() { (cd dist && sha256sum pdudaemon_*_all.deb pdudaemon-client_*_all.deb); }; before=$$(sums); umask 002; \
	DEB_BUILD_OPTIONS=nocheck TZ=Pacific/Kiritimati LC_ALL=C TMPDIR=/var/tmp $(MAKE) deb; test "$$before" = "$$(sums)"

test-boot: deb  ## try the packages in a booted Debian, container and virtual machine (as root); RELEASE=trixie, MACHINES=container
	tests/vm/former dist/former
	$(BOOT) --container $(DEBS) --bring dist/former \
		python3 -m pytest -v -rs -p no:cacheprovider tests/vm/test_boot.py tests/vm/test_upgrade.py
ifneq ($(MACHINES),container)
	$(BOOT) $(DEBS) python3 -m pytest -v -p no:cacheprovider tests/vm/test_hardened.py
endif

lint: .venv/test  ## check style and types
	$(VENV)/ruff check $(STYLE) $(RULES) $(SOURCE)
	$(VENV)/ruff format $(STYLE) --check --diff $(SOURCE)
	$(VENV)/mypy

format: .venv/test  ## bring the source into form
	$(VENV)/ruff check $(STYLE) $(RULES) --fix $(SOURCE)
	$(VENV)/ruff format $(STYLE) $(SOURCE)

docs: .venv/test  ## write the tables of the documentation anew, from the declarations
	$(VENV)/python -m tests.support.docs

lock:  ## pin the newest releases that setup.cfg allows, in share/requirements*.txt
	@set -e; folder=$$(mktemp --directory); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder"; "$$folder/bin/pip" install --quiet --disable-pip-version-check $(UV); \
	compile() { file=$$1; shift; "$$folder/bin/uv" pip compile $(COMPILE) "$$@" >"$$folder/lock"; \
		{ printf '# SPDX-License-Identifier: MIT\n# Written by "make lock".\n'; cat "$$folder/lock"; } >"$$file"; }; \
	echo setuptools | compile share/requirements-test.txt --extra all --extra test --extra dist --extra lint setup.cfg -; \
	echo setuptools | compile share/requirements.txt --extra all --constraint share/requirements-test.txt setup.cfg -; \
	echo snmpsim==1.2.2 pysmi cryptography | tr ' ' '\n' | compile share/requirements-snmpsim.txt -; \
	echo schemathesis==4.32.5 | compile share/requirements-schemathesis.txt -; \
	echo hypothesis==6.170.17 | compile share/requirements-hypothesis.txt -

nightly: .venv/fuzz  ## run all that CI has no time for, with a report: make nightly PARTS="soak cuts" SOAK=60 CUTS=20
	$(VENV)/python -m tests.nightly $(PARTS)

mutation: .venv/test  ## name the changes of a source that no test notices: make mutation FILES=pdudaemon/engine/lanes.py SAMPLE=30
	$(VENV)/python -m tests.mutation $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(TESTS),--tests $(TESTS)) -- $(FILES)

bench: .venv/test  ## measure, against bare servers, the released daemon and BENCH_BASE, a commit; BENCH=long takes an hour
	$(VENV)/python -m tests.bench

clean:  ## remove what the other targets made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: share/requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL)
	@touch $@

.venv/test: share/requirements-test.txt .venv/ready
	$(INSTALL)
	@touch $@

.venv/fuzz: share/requirements-hypothesis.txt .venv/test
	$(PIP) install --quiet --require-hashes --requirement $<
	@touch $@

.PHONY: help run test test-newest lock test-peers test-cuts test-usb test-boot test-container test-ha dist deb test-deb lint format docs nightly mutation bench clean
.DEFAULT_GOAL := help
