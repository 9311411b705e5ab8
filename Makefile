# Every target sets the machine up first, so each works on a fresh clone.
# `make help` lists them.

export GOFLAGS ?= -buildvcs=false
GO      ?= go
BIN     := bin/tapedeck
PKGS    := ./...
FUZZCOUNT ?= 200000x
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: setup
setup: ## install what is missing: libzmq, pkg-config, a C compiler
	@./scripts/setup.sh

.PHONY: build
build: setup ## build bin/tapedeck
	$(GO) build -trimpath -ldflags '-X main.linkedVersion=$(VERSION)' -o $(BIN) ./cmd/tapedeck

.PHONY: demo
demo: build ## import a real day, play it to a subscriber, prove it arrived
	@$(BIN) demo

.PHONY: test
test: setup ## all tests
	$(GO) test -timeout 20m $(PKGS)

.PHONY: race
race: setup ## all tests with the race detector
	$(GO) test -race -timeout 40m $(PKGS)

.PHONY: lint
lint: setup ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $(PKGS)

.PHONY: fuzz
fuzz: setup ## every fuzz target with FUZZCOUNT inputs (200000x)
	@./scripts/fuzz.sh $(FUZZCOUNT)

# SEED=4711 make sim runs that seed alone and writes what happens, SCENARIO=pair that
# scenario alone.
SEEDS ?= 10000
.PHONY: sim
sim: setup ## SEEDS (10000) simulated runs of every scenario
	$(GO) run ./internal/sim/cmd $(if $(SEED),-seed $(SEED),-seeds $(SEEDS)) $(if $(SCENARIO),-scenario $(SCENARIO))

.PHONY: chaos
chaos: setup ## partitions, loss, kills and full disks, with processes in network namespaces (as root)
	TAPEDECK_CHAOS=1 $(GO) test ./chaos/... -run '^TestChaos|^TestGround' -count=1 -v -timeout 1h

COUNT ?= 10000000
.PHONY: hostile
hostile: setup ## COUNT (10000000) malformed frames at every port that is bound
	TAPEDECK_HOSTILE=$(COUNT) $(GO) test ./chaos -run '^TestHostile$$' -count=1 -v -timeout 4h

.PHONY: bench
bench: setup ## the packages' benchmarks
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .demo
