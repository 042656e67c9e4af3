# Each target does all of its own set-up: packages that are missing are installed with apt-get, with sudo where the user is not
# root.

MOUNTPOINT := mountpoints/machine
MACHINE := four-node
PROGRAM := .build/release/veridianfs
SOURCES := Sources Tests Package.swift $(wildcard Benchmarks/Benchmarks Benchmarks/Package.swift)

LIBRARIES := libfuse3-dev fuse3 pkg-config
CLIENTS := numactl util-linux hwloc-nox
MEASURING := gcc util-linux
# gold stumbles over the fuzzer's instrumentation.
FUZZING := lld
# General allocators that the benchmarks compare with, where they are there.
ALLOCATORS := libjemalloc2 libmimalloc2.0

# Installs those of the packages $(1) that are not there.
define install
	@missing=$$(for package in $(1); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; done); \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get install -y --no-install-recommends $$missing || \
	    { $$sudo apt-get update && $$sudo apt-get install -y --no-install-recommends $$missing; }; \
	fi
endef

.PHONY: build mount unmount test lint bench latency soak fuzz clean

# The program, optimised.
build:
	$(call install,$(LIBRARIES))
	swift build -c release --product veridianfs

# Mounts MACHINE at MOUNTPOINT in the background, and shows a first reading.
mount: build
	@mkdir -p $(MOUNTPOINT)
	$(PROGRAM) mount $(MOUNTPOINT) --machine $(MACHINE) --background
	head -n 4 $(MOUNTPOINT)/sys/devices/system/node/node*/meminfo
	echo mem > $(MOUNTPOINT)/sys/kernel/debug/memory
	cat $(MOUNTPOINT)/sys/kernel/debug/memory

unmount:
	$(PROGRAM) unmount $(MOUNTPOINT)

# Every test; the end-to-end tests run the program, and real clients over it.
test:
	$(call install,$(LIBRARIES) $(CLIENTS))
	swift build -c release
	swift test

lint:
	swift format lint --strict --recursive $(SOURCES)

# The figures of the allocator and of page tables, each as a ratio to something that is measured beside it. jemalloc wants more room for its thread-local variables
# than a library has that is loaded by a running program.
bench:
	$(call install,$(LIBRARIES) $(ALLOCATORS))
	cd Benchmarks && GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384 swift package benchmark --no-progress

# What the server adds to the least that a request can cost.
latency: build
	$(call install,$(MEASURING))
	Tests/Latency/run.sh $(PROGRAM)

# Ten minutes of eight shells that allocate, free, read everything and write nonsense.
soak: build
	Tests/Soak/run.sh $(PROGRAM)

# A minute of libFuzzer over the command file: whatever is written there, no trap, no bad access, and a machine that is consistent. What
# it finds new lies in .build-fuzz/corpus, what breaks in .build-fuzz.
FUZZ := swift build --package-path Tests/Fuzz --scratch-path .build-fuzz -c release --sanitize=address \
  -Xswiftc -sanitize=fuzzer -Xswiftc -assert-config -Xswiftc Debug
SECONDS := 60
fuzz:
	$(call install,$(LIBRARIES) $(FUZZING))
	$(FUZZ)
	@mkdir -p .build-fuzz/corpus
	.build-fuzz/release/Fuzz dictionary >.build-fuzz/dictionary
	.build-fuzz/release/Fuzz -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=4096 -max_len=4096 -artifact_prefix=.build-fuzz/ \
	  -dict=.build-fuzz/dictionary .build-fuzz/corpus Tests/Fuzz/corpus

clean:
	swift package clean
