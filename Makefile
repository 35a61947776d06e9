# Coracle. `make run` on a bare Debian or Ubuntu machine is all it takes to see it work.

PREFIX  ?= /usr/local
DESTDIR ?=
# The cargo profile of what is run and installed: "release" builds in a few minutes on two cores; "dist" is
# smaller and a little faster and takes several times as long.
PROFILE ?= release
# Seconds for each fuzz target in `make fuzz`.
FUZZ_TIME ?= 600

CARGO  := scripts/cargo
BINARY := target/$(PROFILE)/coracle
BINDIR := $(DESTDIR)$(PREFIX)/bin
SHARE  := $(DESTDIR)$(PREFIX)/share

.DEFAULT_GOAL := help
.PHONY: help build run test test-vm lint bench fuzz install uninstall deps test-deps docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

deps: ## Install the packages that Coracle needs to build and to run
	@scripts/deps build run

build: ## Build the program
	@scripts/deps build
	@$(CARGO) build --profile $(PROFILE)

run: deps ## Build, and run the built-in image as root and as an ordinary user
	@$(CARGO) build --profile $(PROFILE)
	@scripts/hello $(BINARY)

test-deps:
	@scripts/deps build run test
	@scripts/test-env

test: test-deps ## Install what the tests need, and run all of them
	@$(CARGO) test --features failpoints $(TESTFLAGS)

test-vm: ## The tests that need systemd and cgroup v2, in a virtual machine (as root; slow without KVM)
	@scripts/deps build
	@scripts/test-vm $(TESTFLAGS)

lint: ## Formatting, clippy, documentation, licences
	@scripts/deps build lint
	@scripts/lint

bench: test-deps ## Measure beside podman and a bare crun
	@$(CARGO) build --profile $(PROFILE)
	@CORACLE_BINARY=$(abspath $(BINARY)) $(CARGO) bench --profile dev --bench compare -- $(BENCHFLAGS)

fuzz: ## Fuzz every target for FUZZ_TIME seconds
	@scripts/fuzz $(FUZZ_TIME)

docs: ## Write the man pages and completions from the command line's definitions
	@UPDATE_DOCS=1 $(CARGO) test --features failpoints --test coracle -- generated_docs::

install: ## Install into PREFIX (with DOCKER=1 also as "docker")
	@test -x $(BINARY) || { echo "$(BINARY) is missing: run 'make build' first" >&2; exit 1; }
	install -Dm755 $(BINARY) $(BINDIR)/coracle
	install -d $(SHARE)/man/man1
	for page in docs/man/*.1; do [ ! -e "$$page" ] || install -m644 "$$page" $(SHARE)/man/man1/; done
	[ ! -e completions/coracle.bash ] || install -Dm644 completions/coracle.bash $(SHARE)/bash-completion/completions/coracle
	[ ! -e completions/_coracle ] || install -Dm644 completions/_coracle $(SHARE)/zsh/site-functions/_coracle
	[ ! -e completions/coracle.fish ] || install -Dm644 completions/coracle.fish $(SHARE)/fish/vendor_completions.d/coracle.fish
	for place in system user; do \
		install -d $(DESTDIR)$(PREFIX)/lib/systemd/$$place; \
		sed 's|@BINDIR@|$(PREFIX)/bin|' systemd/coracle-restart.service \
			>$(DESTDIR)$(PREFIX)/lib/systemd/$$place/coracle-restart.service; \
	done
	[ "$(DOCKER)" != 1 ] || ln -sf coracle $(BINDIR)/docker
	[ "$(DOCKER)" != 1 ] || for file in bash:bash-completion/completions/docker zsh:zsh/site-functions/_docker \
		fish:fish/vendor_completions.d/docker.fish; do \
		$(BINDIR)/docker completion --file "$(SHARE)/$${file#*:}" "$${file%%:*}" || exit; \
	done
	[ -n "$(DESTDIR)" ] || scripts/apparmor $(BINDIR)/coracle

uninstall: ## Remove what `make install` put there
	rm -f $(BINDIR)/coracle $(SHARE)/man/man1/coracle.1 $(SHARE)/man/man1/coracle-*.1
	rm -f $(SHARE)/bash-completion/completions/coracle $(SHARE)/zsh/site-functions/_coracle
	rm -f $(SHARE)/fish/vendor_completions.d/coracle.fish
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/coracle-restart.service
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/user/coracle-restart.service
	[ "$$(readlink $(BINDIR)/docker)" != coracle ] || rm -f $(BINDIR)/docker \
		$(SHARE)/bash-completion/completions/docker $(SHARE)/zsh/site-functions/_docker \
		$(SHARE)/fish/vendor_completions.d/docker.fish
	[ -n "$(DESTDIR)" ] || scripts/apparmor --remove $(BINDIR)/coracle

clean: ## Remove everything that was built, test images included
	rm -rf target
