# Sekisho. "make run" is all a newcomer needs; "make help" lists the rest.

# What is built needs no C library; only the race detector does.
export CGO_ENABLED ?= 0

FUZZTIME ?= 60s
# Whole-server tests wait for real processes: this bounds a hanging one.
TEST_TIMEOUT ?= 15m

.PHONY: help run build test packages lint unit conformance conformance-postfix conformance-diff fuzz bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 24

run: build ## build, make a demo site in ./run and serve it
	./bin/sekisho demo run

build: ## build bin/sekisho
	go build -o bin/sekisho ./cmd/sekisho

test: packages lint unit ## install what the tests need, then everything that must pass

packages: ## install the Debian packages that the tests need
	sh .ci/packages

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt these files:"; gofmt -l .; exit 1; }
	go vet ./...
	go tool staticcheck ./...

unit: build ## all tests with the race detector, conformance included
	CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) ./...

conformance: build ## replay the transcripts against Sekisho
	NAMES_EVERY=1 go test -timeout $(TEST_TIMEOUT) -count=1 -run TestSekisho ./conformance ./conformance/names

conformance-postfix: packages ## replay them against real Postfix: is the harness honest?
	CI=true NAMES_EVERY=1 go test -timeout $(TEST_TIMEOUT) -count=1 -run TestPostfix ./conformance ./conformance/names

SEED ?= 1
N ?= 2400
conformance-diff: ## play N dialogues from random worlds, the first of them SEED's, to Postfix and Sekisho
	go run ./conformance/diff -seed $(SEED) -n $(N) -keep conformance/testdata/diff

fuzz: ## run every fuzz target for FUZZTIME
	sh .ci/fuzz $(FUZZTIME)

bench: packages build ## Sekisho beside real Postfix: ONLY=accept,refuse ROUNDS=1 for less, JSON=1
	go run ./bench $(if $(ONLY),-what=$(ONLY)) $(if $(ROUNDS),-rounds=$(ROUNDS)) $(if $(JSON),-json)

clean: ## remove what was built; ./run and its mail stay
	rm -rf bin
