# Everything that is done to ccc. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
DESTDIR ?=
GO ?= go

# `remote` leaves Podman itself out of its client library, and openpgp stands in
# for a C library: together they make the binary static. All of build, vet, test
# and lint must agree on them.
TAGS := remote,containers_image_openpgp
export CGO_ENABLED := 0
export GOFLAGS := -tags=$(TAGS) -trimpath

# The version is what the Go toolchain reads from git. Where git refuses to read
# (no repository, another owner) the build must not fail for it.
VCS := $(shell git status --porcelain >/dev/null 2>&1 && echo true || echo false)

GOLANGCI_VERSION := v2.12.0
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ccc-tools
# The tool is built with the Go that checks the code: it cannot read newer code.
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)-$(shell $(GO) env GOVERSION)/golangci-lint

# The linter remembers findings with the paths of the tree it saw them in, where
# the exceptions of another tree do not match: each tree remembers its own.
export GOLANGCI_LINT_CACHE := $(CURDIR)/build/lint

SCRIPTS := .ci/run $(wildcard testdata/lab/* testdata/demo) testdata/mcp/setup testdata/selinux/fetch profiles/image/customize \
	$(addprefix testdata/machine/,build boot run guest disk/customize disk/kernel-source)
TALLY := build/tally
# Tests that need a world of their own: test-podman, test-machine and test-selinux
# run them.
ELSEWHERE := ^Test(Podman|Machine|SELinux|Clients)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/ccc, bin/ccc-serve that it serves with, bin/ccc-init that sessions begin with
	$(GO) build -buildvcs=$(VCS) -o bin/ccc ./cmd/ccc
	$(GO) build -buildvcs=$(VCS) -o bin/ccc-serve ./cmd/ccc-serve
	$(GO) build -buildvcs=$(VCS) -ldflags '-s -w' -o bin/ccc-init ./cmd/ccc-init
	@rm -rf build/man

.PHONY: demo
demo: ## Show a session from beginning to end, setting up what is missing
	testdata/lab/setup
	@$(MAKE) build
	testdata/lab/run testdata/demo

.PHONY: image
image: ## Build the session image, unless it is there
	testdata/lab/setup
	@$(MAKE) build
	testdata/lab/run bin/ccc image build

.PHONY: test
test: ## All tests: in memory, then against a real SELinux policy and rootless Podman
	@rm -rf $(TALLY)
	@$(MAKE) test-unit
	@$(MAKE) test-selinux
	@$(MAKE) test-podman
	@$(MAKE) test-mcp

.PHONY: test-unit
test-unit: ## The tests that need no Podman
	$(GO) vet ./...
	$(GO) test -v -skip '$(ELSEWHERE)' ./... 2>&1 | testdata/lab/tally unit $(TALLY)/unit

.PHONY: test-selinux
test-selinux: ## Compile and link the SELinux module into a real policy (RUN=regexp)
	testdata/lab/setup mmdebstrap bzip2
	policy=$$(testdata/selinux/fetch) && CCC_TEST_SELINUX=$$policy \
		$(GO) test -v -count=1 -run '$(or $(RUN),^TestSELinux)' ./profiles 2>&1 | testdata/lab/tally --strict selinux $(TALLY)/selinux

.PHONY: test-podman
test-podman: ## The tests against real rootless Podman (RUN=regexp for some)
	testdata/lab/setup
	testdata/lab/suite $(if $(RUN),'$(RUN)')

.PHONY: test-mcp
test-mcp: ## Real MCP clients from npm, Claude Code among them, on real Podman
	testdata/lab/setup
	testdata/mcp/setup build/mcp
	@$(MAKE) build
	$(GO) test -c -o bin/tests/clients.test ./cmd/ccc
	cd cmd/ccc && CCC_TEST_PODMAN=1 ../../testdata/lab/run ../../bin/tests/clients.test -test.run '^TestClients' -test.v -test.timeout 10m 2>&1 | \
		../../testdata/lab/tally --strict clients ../../$(TALLY)/clients

.PHONY: test-machine
test-machine: ## ccc on a whole machine: systemd, cgroup limits, AppArmor (RUN=regexp; root)
	@$(MAKE) build
	testdata/machine/run $(if $(RUN),'$(RUN)')

.PHONY: race
race: ## The tests that need no Podman, with the race detector (needs a C compiler)
	CGO_ENABLED=1 GOFLAGS='-tags=$(TAGS),exclude_graphdriver_btrfs' \
		$(GO) test -race -skip '$(ELSEWHERE)' ./...

.PHONY: bench
bench: ## Compare ccc with podman, side by side
	testdata/lab/setup
	@$(MAKE) image
	testdata/lab/run testdata/lab/bench

.PHONY: bench-init
bench-init: ## Time ccc-init beside catatonit: before a command, and as a first process
	testdata/lab/setup
	$(GO) test ./cmd/ccc-init -run '^$$' -bench . -benchtime 200x

.PHONY: bench-workspace
bench-workspace: ## Time the diff of ten changes, in a small and a large project, beside git status
	$(GO) test ./internal/workspace -run '^$$' -bench Scan

$(GOLANGCI):
	GOBIN=$(@D) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

.PHONY: lint
lint: $(GOLANGCI) ## Check the code and the scripts
	@command -v shellcheck >/dev/null || testdata/lab/setup shellcheck
	shellcheck $(SCRIPTS)
	$(GOLANGCI) run --concurrency 2 --timeout 20m ./...

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the code
	$(GOLANGCI) fmt ./...

.PHONY: completions
completions: build ## Write the shell completions again
	bin/ccc completion bash > completions/ccc.bash
	bin/ccc completion zsh > completions/_ccc
	bin/ccc completion fish > completions/ccc.fish

.PHONY: golden
golden: ## Write the golden files again; look at the difference before committing it
	grep -rl 'flag.Bool("update"' --include='*_test.go' cmd internal | xargs -n1 dirname | sort -u | \
		while read -r p; do $(GO) test "./$$p" -skip '^TestPodman' -update; done

.PHONY: check
check: ## What a change has to pass: formatted, linted, tested, generated files current
	$(GOLANGCI) fmt --diff ./...
	@$(MAKE) lint test completions
	git diff --exit-code -- completions

.PHONY: man
man: ## Write the manual pages to build/man
	@mkdir -p build/man
	CCC_MAN_DIR=$(CURDIR)/build/man $(GO) test -count=1 -run '^TestManPages$$' ./internal/cli

.PHONY: install
install: ## Install below $(DESTDIR)$(PREFIX)
	@[ -x bin/ccc ] || $(MAKE) build
	@[ -e build/man/ccc.1 ] || $(MAKE) man
	install -D -m 0755 bin/ccc '$(DESTDIR)$(PREFIX)/bin/ccc'
	install -D -m 0755 bin/ccc-serve '$(DESTDIR)$(PREFIX)/libexec/ccc/ccc-serve'
	install -D -m 0755 bin/ccc-init '$(DESTDIR)$(PREFIX)/libexec/ccc/ccc-init'
	install -D -m 0644 completions/ccc.bash '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/ccc'
	install -D -m 0644 completions/_ccc '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ccc'
	install -D -m 0644 completions/ccc.fish '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ccc.fish'
	install -d -m 0755 '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -m 0644 build/man/*.1 '$(DESTDIR)$(PREFIX)/share/man/man1'

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin build
