# What a person or CI runs here. `make` alone lists it.
# Everything it makes lies in .build (compiled code, Python's packages) and .lib (the installed package).

export PATH := $(CURDIR)/.build/bin:$(PATH):$(HOME)/.cargo/bin
export R_LIBS := $(CURDIR)/.lib$(if $(R_LIBS),:$(R_LIBS))
# One directory for cargo, R CMD INSTALL and R CMD check: dependencies are compiled once.
export ENTRAR_TARGET_DIR := $(CURDIR)/.build/target
export CARGO_TARGET_DIR := $(ENTRAR_TARGET_DIR)
# The hub has a lock file of its own, and so a directory.
export HUB_TARGET_DIR := $(CURDIR)/.build/hub

# What an installed package is made of; a directory is newer when a file came or went.
SOURCES := $(shell find DESCRIPTION NAMESPACE configure tools/config.R tools/msrv.R R inst man \
  src/*.c src/*.in src/install.libs.R src/rust/Cargo.toml src/rust/Cargo.lock src/rust/crates \
  \( -name tests -o -path "*/broker/examples" \) -prune -o -print 2>/dev/null)

.PHONY: help demo test check bench document format install site release hub hub-deb hub-demo clean

help:
	@echo 'make demo      sign in to an emulated tenant and spend tokens from R'
	@echo 'make test      everything that CI runs; STEPS="air lint" runs only those'
	@echo 'make check     R CMD check'
	@echo 'make bench     the benchmarks'
	@echo 'make document  rewrite man/, NAMESPACE and R/extendr-wrappers.R'
	@echo 'make hub       the hub, in .build/hub/release/entrar-hub'
	@echo 'make hub-deb   the hub as a Debian package, in .build/packaging'
	@echo 'make hub-demo  a hub on this machine, with a made-up tenant, to look at'
	@echo 'make format    format R and Rust code'
	@echo 'make install   install into .lib'
	@echo 'make site      the documentation as web pages, in .build/site'
	@echo 'make release   the source package that installs without a network, in .build/release'
	@echo 'make clean     remove everything built'

demo:
	@tools/setup.sh demo
	@$(MAKE) --no-print-directory install
	@.lib/entrar/bin/entrar demo -- Rscript --vanilla .lib/entrar/examples/services.R

test:
	@tools/setup.sh test
	@tools/test.sh $(STEPS)

check:
	@tools/setup.sh test
	@tools/test.sh install check

bench:
	@tools/setup.sh test
	@$(MAKE) --no-print-directory install
	@bench/run

# The shared object alone: while R code and NAMESPACE do not fit each other, the package cannot be installed.
document:
	@tools/setup.sh test
	@mkdir -p .build/document
	R CMD INSTALL --libs-only --no-test-load --library=.build/document .
	Rscript --vanilla tools/document.R .build/document

format:
	@tools/setup.sh test
	cargo fmt --manifest-path src/rust/Cargo.toml --all
	cargo fmt --manifest-path tests/sql/server/Cargo.toml
	cargo fmt --manifest-path hub/Cargo.toml
	.build/venv/bin/air format .

hub:
	@tools/setup.sh hub
	CARGO_TARGET_DIR=$(HUB_TARGET_DIR) cargo build --manifest-path hub/Cargo.toml --locked --release

hub-deb: hub
	packaging/debian/build $(HUB_TARGET_DIR)/release/entrar-hub .build/packaging

# As the user who calls it, or as HUB_DEMO_USER if root does: a hub serves people, and root is none.
hub-demo:
	@tools/setup.sh hub
	@$(MAKE) --no-print-directory install hub
	@HUB_DEMO_USER=$(HUB_DEMO_USER) hub/demo.sh .lib/entrar/bin/entrar $(HUB_TARGET_DIR)/release/entrar-hub .lib

# Building its vignettes installs it once.
release:
	@tools/setup.sh test
	python3 -B tools/release.py build .build/release

site:
	@tools/setup.sh test
	@tools/test.sh install site

install: .lib/installed

.lib/installed: $(SOURCES)
	@mkdir -p .lib
	R CMD INSTALL --library=.lib .
	@touch $@

clean:
	rm -rf .build .lib src/rust/target src/bin src/*.o src/*.so src/Makevars
