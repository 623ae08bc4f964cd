# Everyday commands. `make` without a target lists them.

GO        ?= go
FUZZTIME  ?= 20s
# The second of the two Go releases that pass every test (CONTRIBUTING.md). Go downloads
# it through the module proxy.
GO_NEXT   ?= go1.27.4
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The race detector needs cgo, and cgo needs a C compiler.
RACE      := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)
CACHE     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tokenagent

# The name and the architecture of the image that `make image` packs. The manifests of
# deploy/ use the same name (`make docs` checks it). The version is in the program and
# in the image's labels.
IMAGE      ?= tokenagent/tokenagent:dev
IMAGE_ARCH ?= $(shell $(GO) env GOARCH)

# Only tools/go.mod has the linter's version. The linter is cached outside the
# repository, under its version and Go's version, because a golangci-lint built with an
# older Go refuses newer code.
LINT_VERSION := $(shell awk '$$1 == "github.com/golangci/golangci-lint/v2" { print $$2 }' tools/go.mod)
LINT         := $(CACHE)/golangci-lint-$(LINT_VERSION)-$(shell $(GO) env GOVERSION)/golangci-lint

.DEFAULT_GOAL := help
.PHONY: help build image vet test test-modules recipes next lint fmt imports promises tidy cross examples vuln demo demo-svg docs reference fuzz bench bench-quick bench-packages guard guard-write e2e soak ops e2e-kubernetes page clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

build: ## Build bin/tokenagent, static and reproducible
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tokenagent ./cmd/tokenagent

image: ## Pack dist/tokenagent-image.tar, reproducible, without an engine or a registry
	CGO_ENABLED=0 GOOS=linux GOARCH=$(IMAGE_ARCH) $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o dist/linux-$(IMAGE_ARCH)/tokenagent ./cmd/tokenagent
	@$(GO) run -C tools/image . -name '$(IMAGE)' -arch $(IMAGE_ARCH) -version '$(VERSION)' -binary '$(CURDIR)/dist/linux-$(IMAGE_ARCH)/tokenagent' -out '$(CURDIR)/dist/tokenagent-image.tar'

vet: ## Compile everything, tests included, and vet it
	$(GO) build ./...
	$(GO) vet ./...

test: ## Run every test of the main module under the race detector, in random order
	@[ -n '$(RACE)' ] || echo 'test: no C compiler, so the race detector is off; install gcc or clang to turn it on'
	$(GO) test $(RACE) -shuffle=on ./...

test-modules: ## Run the tests of the other modules: the examples, the benchmarks, the image packer
	@for module in examples/*/go.mod bench/go.mod tools/image/go.mod; do \
		$(GO) test -C $${module%/go.mod} $(RACE) -shuffle=on ./... || exit 1; \
	done

recipes: ## Check deploy/recipes against the schemas and template engines of the tools that they are for
	$(GO) test -C tools/recipes -shuffle=on ./...

next: ## Test and check go.mod with the second Go release, GO_NEXT, without the race detector
	GOTOOLCHAIN=$(GO_NEXT) $(GO) version
	GOTOOLCHAIN=$(GO_NEXT) $(MAKE) tidy test test-modules RACE=

lint: imports $(LINT) ## Lint, check the import directions and the formatting
	@bash tools/sleeps.sh
	$(LINT) run ./...
	@for module in $(wildcard bench/go.mod test/e2e/go.mod tools/*/go.mod examples/*/go.mod); do (cd $${module%/go.mod} && $(LINT) run ./...) || exit 1; done

fmt: $(LINT) ## Format the code with the linter's formatters
	$(LINT) fmt

imports: ## Check what each package links, and how much the public ones export
	@GO='$(GO)' bash tools/imports.sh
	@GO='$(GO)' bash tools/surface.sh

promises: ## Check that each of the eight promises has its tests
	@bash tools/promises.sh

tidy: ## Check that every go.mod and go.sum is tidy, without changing them
	$(GO) mod tidy -diff
	@for module in examples/*/go.mod test/*/go.mod tools/*/go.mod bench/go.mod; do \
		[ ! -f $$module ] || (cd $${module%/go.mod} && $(GO) mod tidy -diff) || exit 1; \
	done

cross: ## Build and vet for macOS and Windows, and build for Linux on arm64
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...

examples: ## Build every Go program in examples/
	@GO='$(GO)' bash tools/examples.sh

vuln: ## Look for known vulnerabilities with govulncheck, if its database can be reached
	@GO='$(GO)' bash tools/vuln.sh

demo: ## Watch rotations under load, beside a server that reads its token once (12 seconds)
	$(GO) run ./cmd/tokenagent demo

demo-svg: build ## Record the demo into docs/demo.svg
	$(GO) build -o bin/record ./cmd/tokenagent/internal/demo/record
	bin/tokenagent demo | bin/record 'tokenagent demo' >docs/demo.svg

docs: ## Check the links between pages, the reference of commands, the runbook entry of each alert, and the image's name
	@$(GO) run ./cmd/tokenagent/internal/reference markdown | diff docs/cli.md - || { echo 'docs: docs/cli.md is out of date; run make reference' >&2; exit 1; }
	@bash tools/doclinks.sh
	@bash tools/rules.sh check
	@bash tools/imagetag.sh

reference: ## Write docs/cli.md and the man page dist/man/tokenagent.1 from the help of the commands
	@mkdir -p dist/man
	$(GO) run ./cmd/tokenagent/internal/reference markdown >docs/cli.md
	$(GO) run ./cmd/tokenagent/internal/reference man >dist/man/tokenagent.1

fuzz: ## Run every fuzz test for FUZZTIME (20s) each
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' bash tools/fuzz.sh

bench: ## Measure against every peer and the floor (17 minutes, on a quiet machine), into docs/benchmarks.md
	$(GO) build -C bench -o ../bin/bench ./cmd/bench
	cd bench && ../bin/bench -page ../docs/benchmarks.md -raw ../bin/bench.txt

bench-quick: ## Check that every benchmark and peer runs and decides correctly, without measuring
	$(GO) build -C bench -o ../bin/bench ./cmd/bench
	cd bench && ../bin/bench -quick

bench-packages: ## Run the benchmarks of each package
	$(GO) test -run '^$$' -bench . -benchmem -p 1 ./...

guard: ## Check instructions and allocations of each operation against bench/guard.json
	@GO='$(GO)' bench/guard.sh

guard-write: ## Write the current instructions and allocations into bench/guard.json
	@GO='$(GO)' bench/guard.sh -write

ops: ## Test the alert rules with promtool, and every query against a real Prometheus
	@GO='$(GO)' test/ops/run.sh

e2e: ## Run against a real daprd of two versions (builds each once: about 6 minutes), or of one: DAPR=1.18.2
	cd test/e2e && DAPR='$(DAPR)' ./run.sh

soak: ## Send a million requests through an hour's rotations: no leak, little memory
	$(GO) test -C test/e2e -count=1 -run '^TestSoak$$' -timeout 10m -v . -soak

e2e-kubernetes: ## Deploy deploy/ to the cluster of KUBECONFIG and rotate there (see test/kubernetes/run.sh)
	bash test/kubernetes/run.sh

page: ## Test the admin port's page in headless Chromium
	GO='$(GO)' test/page/run.sh

clean: ## Remove bin and dist
	rm -rf bin dist

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION): this happens once and takes some minutes"
	@mkdir -p $(@D)
	CGO_ENABLED=0 nice -n 10 $(GO) build -C tools -trimpath -o $@.new github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@mv $@.new $@
