# One command for each thing that is done here. Tools are pinned and run by `go run`; nothing is installed.
GO       ?= go
LINT     := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF      := $(GO) run github.com/bufbuild/buf/cmd/buf@v1.75.0
FUZZTIME ?= 20s
# The release and what has come since, as both programs tell it.
VERSION  := $(shell scripts/version.sh)
LDFLAGS  := -X github.com/raftsentinel/raftsentinel/cmd/version.linked=$(VERSION)
# Without grpc-go's page of traces, which nobody can reach here: with it come templates, for whose sake the linker keeps methods that
# nobody calls, a sixth of the program and of what is resident of it.
TAGS     := grpcnotrace
# Where packages are built, for what, and as what.
DIST     ?= dist
ARCHES   ?= amd64 arm64
FORMATS  ?= deb rpm

.PHONY: all
all: build

.PHONY: build
build: ## bin/sentineld and bin/sentinelctl
	$(GO) build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/sentineld ./cmd/sentinelctl

.PHONY: packages
packages: ## .deb and .rpm in dist/; VERSION, ARCHES and FORMATS say which
	@DIST='$(DIST)' VERSION='$(VERSION)' TAGS='$(TAGS)' ARCHES='$(ARCHES)' FORMATS='$(FORMATS)' scripts/dist.sh packages

.PHONY: dist
dist: ## the same, tarballs, SBOMs and SHA256SUMS, and nothing of earlier versions
	@DIST='$(DIST)' VERSION='$(VERSION)' TAGS='$(TAGS)' ARCHES='$(ARCHES)' FORMATS='$(FORMATS)' scripts/dist.sh all

.PHONY: redis
redis: ## a Redis server's program, without a service
	@scripts/get-redis.sh

.PHONY: cc
cc: ## a C compiler, for the race detector
	@scripts/get-cc.sh

.PHONY: clients
clients: ## real clients, HAProxy and redis_exporter, for the test with them
	@scripts/get-clients.sh

.PHONY: demo
demo: redis build ## a whole cluster with real Redis on this machine, a crash, and its timeline
	bin/sentinelctl demo

.PHONY: test
# -count 1: Go's cache does not know of the programs that the end-to-end tests build, and would pass over a change of theirs.
test: redis cc clients ## everything that needs only Redis and no root, with the race detector
	@GO='$(GO)' scripts/test-race.sh ./...

.PHONY: test-packages
test-packages: ## builds everything that is handed out for this architecture, twice, and looks into it
	@scripts/get-rpm.sh
	TEST_PACKAGES=1 $(GO) test -count 1 -v -timeout 20m ./test/packages

.PHONY: e2e
e2e: redis cc ## real processes alone
	CGO_ENABLED=1 $(GO) test -race -count 1 -v -timeout 15m ./test/e2e

.PHONY: test-systemd
# Root boots three hosts with a systemd of their own. The two packages differ in their version alone.
LAB_ROOTFS ?= bookworm
test-systemd: ## packages on hosts with a real systemd; needs root. LAB_ROOTFS=trixie for another one
	@scripts/get-rootfs.sh $(LAB_ROOTFS)
	@rm -rf bin/lab && mkdir -p bin/lab
	@for n in 1 2; do \
		$(MAKE) --no-print-directory packages VERSION=$$(cat cmd/version/RELEASE)-lab.$$n ARCHES=$$($(GO) env GOARCH) FORMATS=deb && \
		mv dist/sentineld_*lab.$${n}_*.deb bin/lab/$$n.deb || exit 1; \
	done
	$(GO) test -count 1 -v -timeout 10m ./test/systemd -args -rootfs $(CURDIR)/bin/rootfs/$(LAB_ROOTFS) \
		-deb $(CURDIR)/bin/lab/1.deb -newer $(CURDIR)/bin/lab/2.deb

.PHONY: e2e-long
e2e-long: redis cc ## the same with 200 sets that are explained and 20 rounds of losses and frozen nodes
	E2E_SETS=200 E2E_ROUNDS=20 CGO_ENABLED=1 $(GO) test -race -count 1 -v -timeout 60m ./test/e2e

.PHONY: releases
releases: ## bin/releases: sentineld of the oldest and of the last release, from their commits
	@GO=$(GO) scripts/get-releases.sh

.PHONY: test-upgrade
test-upgrade: redis releases ## clusters of released programs, rolled to this build and back while masters fail
	$(GO) test -count 1 -v -timeout 15m ./test/upgrade -args -releases $(CURDIR)/bin/releases

.PHONY: bench
bench: redis ## many masters, beside redis-sentinel, into docs/benchmarks.md; RUNS=3 by default, ONLY names one experiment
	$(GO) run ./test/bench -scale -rounds $(or $(RUNS),3) -only '$(ONLY)' -write docs/benchmarks.md

.PHONY: bench-failover
bench-failover: redis ## the figures of docs/benchmarks.md; ROUNDS=20 by default
	$(GO) run ./test/bench -rounds $(or $(ROUNDS),20) -write docs/benchmarks.md

.PHONY: bench-protocol
bench-protocol: redis ## the Sentinel protocol's figures of docs/benchmarks.md, beside redis-sentinel; ROUNDS=20 by default
	$(GO) run ./test/bench -protocol -rounds $(or $(ROUNDS),20) -write docs/benchmarks.md

.PHONY: bench-switchover
bench-switchover: redis ## what planned switchovers cost those who write, into docs/benchmarks.md; ROUNDS=20 by default
	$(GO) run ./test/bench -switchover -rounds $(or $(ROUNDS),20) -write docs/benchmarks.md

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: fmt
fmt:
	$(LINT) fmt ./...
	$(BUF) format -w

.PHONY: lint
lint: ## Go, protobuf, shell and systemd units
	$(LINT) run ./...
	$(LINT) fmt --diff ./...
	$(BUF) lint
	@! git grep -nE '^(<<<<<<<|>>>>>>>) ' # what a merge left behind
	@for f in .ci/run scripts/*.sh; do bash -n $$f; done
	@for f in deploy/packages/deb/* deploy/packages/rpm/*; do sh -n $$f; done
	@scripts/check-units.sh

.PHONY: proto
proto: ## the committed generated code
	$(BUF) generate

.PHONY: proto-check
proto-check: ## fails where the generated code is not current
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && $(BUF) generate -o "$$tmp" && \
	for f in $$(cd "$$tmp" && find . -name '*.go'); do diff -u "$$f" "$$tmp/$$f" || exit 1; done && \
	for f in $$(find ./proto -name '*.pb.go'); do \
		test -e "$$tmp/$$f" || { echo "$$f is generated from nothing" >&2; exit 1; }; \
	done

.PHONY: tidy-check
tidy-check: ## fails where go.mod or go.sum are not tidy
	$(GO) mod tidy -diff

.PHONY: check
check: test lint proto-check tidy-check ## what CI runs

.PHONY: clean
clean:
	rm -rf bin dist

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 18
