# Sealpoint: `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
NATIVE  := $(CURDIR)/target/native/libsealpoint.so
CLI     := $(CURDIR)/target/native/sealpoint
JAR     := $(CURDIR)/java/target/sealpoint-flink-$(VERSION).jar
MVN     := mvn -q -B -ntp
UNDER_TEST := -Dsealpoint.jar=$(JAR) -Dsealpoint.cli=$(CLI)

.PHONY: help tools test-tools build native jar demo test test-rust test-kms test-cloud test-store kms-env store-env miri test-abi test-java test-flink soak bench sizes many-files lint lint-features fmt header config-doc cli-doc kms-doc clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

tools: ## check (as root on Debian or Ubuntu: install) the tools that the build needs
	@tools/check

test-tools: ## the same for the tests
	@tools/check tests

build: tools native jar ## the library, the command-line tool and the jar
	@ls -l $(NATIVE) $(CLI) $(JAR)

native: ## target/native/: libsealpoint.so and sealpoint, for glibc 2.28 and newer
	@tools/build-native

jar: native ## java/target/sealpoint-flink-*.jar with the library inside
	@$(MVN) -f java/pom.xml package -DskipTests -Dsealpoint.native=$(NATIVE)

KMS ?= local

demo: tools jar $(if $(filter-out local,$(KMS)),kms-env) ## a real Flink cluster checkpoints under encryption, is killed, restores, and proves it; KMS=local|vault|aws|azure|gcp|pkcs11
	@tests/flink/run-demo $(UNDER_TEST) -Dsealpoint.kms=$(KMS)

test: test-tools lint test-rust miri test-abi test-java test-flink ## everything

test-rust: kms-env store-env ## unit, property, vector and second-decoder tests of the native core, test-kms and test-store
	cargo test

test-kms: kms-env ## one contract for every key service, against servers that the tests start
	cargo test --test kms

test-cloud: ## the contract with your own key in a real cloud, PROVIDER=aws|azure|gcp: see docs/KEY_SERVICES.md
	@test -n "$(PROVIDER)" || { echo "make test-cloud PROVIDER=aws|azure|gcp" >&2; exit 1; }
	KMS_CLOUD=$(PROVIDER) cargo test --test kms

test-store: kms-env store-env ## one contract for files, S3, Azure Storage and Google Cloud Storage, against servers that the tests start
	cargo test --test store

store-env: test-tools # what test-store starts
	@tools/store-env

kms-env: test-tools # what test-kms starts
	@tools/kms-env

miri: ## the tests that need no C code, under Miri, where it is installed
	@if cargo +nightly miri --version >/dev/null 2>&1; then \
	    MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib --no-default-features -- envelope:: context::tests secret::tests metrics::tests epochs::tests clock::tests; \
	else \
	    echo "NOT RUN: Miri is missing; rustup toolchain install nightly --component miri,rust-src"; \
	fi

test-abi: native ## exported symbols, glibc needs, and the C program, plain and under valgrind
	tests/c/run

test-java: native ## the jar's own tests against both Flink lines, every JVM with -Xcheck:jni
	$(MVN) -f java/pom.xml verify -Dsealpoint.native=$(NATIVE) -Dsealpoint.cli=$(CLI)
	$(MVN) -f java/pom.xml test -Pflink-2 -Dsealpoint.native=$(NATIVE) -Dsealpoint.cli=$(CLI)

test-flink: jar kms-env store-env ## scenarios on real clusters of Flink 1.20 and 2.x
	$(MVN) -f tests/flink/pom.xml verify $(UNDER_TEST)

# What a soak does is set by these; as they stand it takes an hour at most, once everything is built.
SOAK_CASES   ?= 20000
SOAK_SECONDS ?= 300
SOAK_KILLS   ?= 20
SOAK_OUTAGE  ?= 60
SOAK_THROTTLED ?= 60
SOAK_RUST    := --release --test engine --test format_streams --test format_hostile --test format_second_decoder

soak: tools jar kms-env ## what takes long: property tests at length, a nearly full heap, kill cycles
	cargo test $(SOAK_RUST) --no-run
	timeout 20m env PROPTEST_CASES=$(SOAK_CASES) cargo test $(SOAK_RUST)
	timeout 10m env SOAK_THROTTLED=$(SOAK_THROTTLED) cargo test --test kms vault::throttled
	timeout 15m $(MVN) -f java/pom.xml test -Dtest=SoakTest -Dsoak.seconds=$(SOAK_SECONDS) -Dsealpoint.native=$(NATIVE) -Dsealpoint.cli=$(CLI)
	timeout 25m $(MVN) -f tests/flink/pom.xml verify $(UNDER_TEST) -Dit.test='SealedStateIT#a_task_manager_killed*' -Dkills=$(SOAK_KILLS)
	timeout 25m $(MVN) -f tests/flink/pom.xml verify $(UNDER_TEST) -Dit.test=KeyServiceIT -Doutage.seconds=$(SOAK_OUTAGE)

bench: native jar ## ratios against the raw cipher and against peers, in one run
	benches/run

sizes: ## how large the library is and how long its cold build takes, for each set of features (half an hour)
	@tools/measure-features

many-files: native ## time and memory of the tool over very many small files, FILES=1000000 by default (half an hour)
	@tools/measure-files --cli $(CLI) --files $(or $(FILES),1000000)

lint: ## formatting, clippy, generated files
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --lib --bins --no-default-features -- -D warnings

lint-features: ## clippy without any feature, and with each alone
	cargo clippy --all-targets --no-default-features -- -D warnings
	for feature in aws azure gcp pkcs11 vault s3 abfs gs; do \
	    cargo clippy --all-targets --no-default-features --features $$feature -- -D warnings; \
	done

fmt: ## format the Rust sources
	cargo fmt

header: ## write include/sealpoint.h from native/ffi/c.rs
	WRITE_HEADER=1 cargo test --test header

config-doc: native ## write docs/CONFIG.md from the option table
	$(CLI) config reference > docs/CONFIG.md

cli-doc: native ## write docs/CLI.md from what the command line parses
	$(CLI) man --markdown > docs/CLI.md

kms-doc: ## write what is tested into docs/KEY_SERVICES.md from the contract suite
	WRITE_KMS_DOC=1 cargo test --test kms -- --exact documentation::is_current

clean: ## remove what was built
	rm -rf target java/target tests/flink/target tests/flink/*/target benches/jmh/target
