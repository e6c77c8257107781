# `make` lists the targets. What each does lies in Tests/Scripts.

PREFIX ?= /usr/local
DESTDIR ?=
MOUNT ?= /ccn
RUN_DIR ?= /var/tmp/ccnfs-run
IMAGE ?=
export MOUNT RUN_DIR IMAGE

# Suites that want root, a mount or the built tool; `make check` leaves them to `make test`.
CHECK_SKIPS := --skip '^NodeTests\.' --skip '^CommandTests\.'
# Without cross-module optimisation generic code of another module runs unspecialised.
RELEASE_FLAGS := -c release -Xswiftc -cross-module-optimization

# Expanded in a recipe's first line; says what to do where there is no usable Swift.
find_swift = swift=$$(Tests/Scripts/find-swift.sh)

.DEFAULT_GOAL := help
.PHONY: help run clean-run test check bench build release install uninstall format lint setup fuzz

help: ## list the targets (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the main job on real input: image, publish, mount, deploy, boot [IMAGE=, MOUNT=, RUN_DIR=]
	@Tests/Scripts/run.sh

clean-run: ## unmount and remove what make run left
	@Tests/Scripts/run.sh clean

test: ## set up, then run everything that can be tested on this machine
	@Tests/Scripts/test.sh

check: lint ## the quick inner loop: lint, debug build, tests without root or mounts
	@$(find_swift) && SWIFT_BACKTRACE=enable=no "$$swift" test --no-parallel $(CHECK_SKIPS)

bench: release ## speed against the raw file, openssl and qemu-storage-daemon, in one run
	@Tests/Scripts/bench.sh

build: ## debug build
	@$(find_swift) && "$$swift" build

release: ## release build, .build/release/ccnfs
	@$(find_swift) && "$$swift" build $(RELEASE_FLAGS)

# Does not build as root what an earlier `make release` built as a user.
install: ## install the tool, its completion, the mount helper, the units and the sample settings [PREFIX=/usr/local, DESTDIR=]
	@test -x .build/release/ccnfs || $(MAKE) release
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)/sbin" \
	    "$(DESTDIR)$(PREFIX)/share/doc/ccnfs" "$(DESTDIR)$(PREFIX)/share/bash-completion/completions" \
	    "$(DESTDIR)$(PREFIX)/share/zsh/site-functions"
	install -m 0755 .build/release/ccnfs "$(DESTDIR)$(PREFIX)/bin/ccnfs"
	.build/release/ccnfs --generate-completion-script bash \
	    > "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/ccnfs"
	.build/release/ccnfs --generate-completion-script zsh > "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ccnfs"
	sed 's|^ccnfs=.*|ccnfs=$${CCNFS:-$(PREFIX)/bin/ccnfs}|' Mounts/mount.fuse.ccnfs \
	    > "$(DESTDIR)/sbin/mount.fuse.ccnfs"
	chmod 0755 "$(DESTDIR)/sbin/mount.fuse.ccnfs"
	for unit in ccnfs.service ccnfs-node.service; do \
	    sed 's|/usr/local/bin/|$(PREFIX)/bin/|g' "Mounts/$$unit" \
	        > "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit" && \
	    chmod 0644 "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit" || exit 1; \
	done
	install -m 0644 Mounts/ccnfs.yaml "$(DESTDIR)$(PREFIX)/share/doc/ccnfs/ccnfs.yaml"

uninstall: ## remove what install put there; settings, state and cache stay
	rm -f "$(DESTDIR)$(PREFIX)/bin/ccnfs" "$(DESTDIR)/sbin/mount.fuse.ccnfs" \
	    "$(DESTDIR)$(PREFIX)/lib/systemd/system/ccnfs.service" \
	    "$(DESTDIR)$(PREFIX)/lib/systemd/system/ccnfs-node.service" \
	    "$(DESTDIR)$(PREFIX)/share/doc/ccnfs/ccnfs.yaml" \
	    "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/ccnfs" \
	    "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ccnfs"

format: ## format the Swift sources in place
	@$(find_swift) && "$$swift" format -i -r Sources Tests Package.swift

lint: ## formatting, declared imports, where unsafe code may stand
	@Tests/Scripts/lint.sh

setup: ## install what building, testing and running need (Debian 12, as root)
	@Tests/Scripts/setup.sh all

fuzz: ## fuzz the decoders [FUZZ_SECONDS=60]
	@Tests/Scripts/fuzz.sh
