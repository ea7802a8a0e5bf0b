# make demo   builds everything and opens a map on http://localhost:8080
# make build  leaves bin/tilescout with the library it needs beside it
# make test   all tests, and each fuzz target for 10 s (make test-training: those of training/)

ORT     := 1.29.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
NPM     ?= npm
PYTHON  ?= python3
LDFLAGS := -s -w -X main.version=$(VERSION)
KILLS   ?= 1000
FUZZ    ?= 10s
PEERS   ?= $(CURDIR)/bin/peers

.PHONY: demo build web runtime test test-go test-web test-browser test-training lint bench fuzz-short kills clean

demo: build
	bin/tilescout demo $(ARGS)

build: web bin/tilescout runtime

bin/tilescout: FORCE
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/tilescout
FORCE:

# --- web map -----------------------------------------------------------------------------------------------
web: web/dist/index.html

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && $(NPM) ci --ignore-scripts --no-audit --no-fund

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src -type f 2>/dev/null) web/build.mjs
	cd web && $(NPM) run build

# --- ONNX Runtime ------------------------------------------------------------------------------------------
# The official release first (11 MB). A machine that reaches package registries only gets the same version from
# the pip wheel (23 MB) or the npm package (112 MB); every way is checked by SHA-256 before it is used.
runtime: bin/tilescout
	@bin/tilescout runtime check --quiet 2>/dev/null \
	  || bin/tilescout runtime install \
	  || sh .ci/runtime-from-registry $(ORT) bin/lib
	@bin/tilescout runtime check

# --- tests -------------------------------------------------------------------------------------------------
test: build test-go fuzz-short test-web test-browser

test-go:
	$(GO) vet ./...
	TILESCOUT_ONNXRUNTIME=$(CURDIR)/bin/lib $(GO) test -race -timeout 20m ./...

test-web: web
	cd web && $(NPM) test

test-browser: build
	bash .ci/browser-test

# PYTHON is one with the packages of training/pyproject.toml (pip install -e 'training[dev]').
test-training:
	cd training && PYTHONPATH=src $(PYTHON) -m pytest -q tests

lint:
	$(GO) vet ./...
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"

bench: build
	TILESCOUT_ONNXRUNTIME=$(CURDIR)/bin/lib $(GO) test -run '^$$' -bench . -benchtime 2s ./...

# Every fuzz target for FUZZ, four at once, so that all tests end within 20 minutes on two cores; not beside the race
# detector's, whose time they would take.
fuzz-short: web
	$(GO) run ./cmd/fuzz -time $(FUZZ) -jobs 4 $(ARGS)

# Every fuzz target for 10 minutes, hours in all; interrupted and started again it goes on where it was. What it finds
# stays in bin/fuzz and, where a target fails, as a file in the package's testdata. ARGS='-run IFD' chooses.
.PHONY: fuzz
fuzz: web
	$(GO) run ./cmd/fuzz -time 10m -keep bin/fuzz $(ARGS)

# Opens every hostile file and every truncation of small good ones under a limit of memory (R2).
.PHONY: hostile
hostile: build
	TILESCOUT_ONNXRUNTIME=$(CURDIR)/bin/lib $(GO) run ./cmd/hostile $(ARGS)

# What is served of every file of the test data: prints the table and rewrites docs/geo-files.md.
.PHONY: geo-table
geo-table:
	$(GO) test -count=1 -v ./tileserver/source/kinds -run GeoTable -update

# kill -9 while indexing, KILLS times (R1).
kills:
	TILESCOUT_KILLS=$(KILLS) $(GO) test -count=1 -timeout 60m -run 'TestKill$$' -v ./cache/index

# Faults from outside (R4, R5, R6) and load (R3, P7, P8), with their tables. Both use loopback only.
.PHONY: faults load
faults: build
	TILESCOUT_FAULTS=1 TILESCOUT_ONNXRUNTIME=$(CURDIR)/bin/lib $(GO) test -count=1 -timeout 15m -v -run 'Faults|TestHerd|TestNothingLeaks' ./cmd/tilescout

load: build
	PYTHON=$(PYTHON) GO=$(GO) sh .ci/peers $(PEERS)
	TILESCOUT_LOAD=1 TILESCOUT_PEERS=$(PEERS) $(GO) test -count=1 -timeout 15m -v -run 'TestLoad' ./cmd/tilescout

# --- release -----------------------------------------------------------------------------------------------
# An archive for this system with its list of parts and checksums in dist/; the check builds it in two folders.
.PHONY: release release-check
release: build
	sh .ci/release $(VERSION) dist

release-check: build
	sh .ci/release-check $(VERSION)

clean:
	rm -rf bin dist web/dist web/node_modules

# Loads the .qlr of the demo into a headless QGIS (Debian: apt-get install python3-qgis). Optional: 930 MB.
.PHONY: test-qgis
test-qgis: build
	sh .ci/qgis-test
