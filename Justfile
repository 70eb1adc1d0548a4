# The short ways to work on Corten. `just` alone lists them.

default:
    @just --list --unsorted

# Under half a minute once built: formatting and lints
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings

# Under a minute once built: tests near the code and the walls; no root, no VM, no network
test:
    cargo test --release --workspace --exclude corten-image --exclude corten-vm --exclude corten-sim --locked

# The seeded simulations; with a seed, replay exactly that one and print its trace; RUST_LOG=info adds what the nodes log
sim *SEED:
    {{ if SEED == "" { "cargo test --release -p corten-sim --locked" } else { "cargo run --release -p corten-sim --locked -- both " + SEED } }}

# Many more seeds of both simulations than the tests run: prints the broken ones, and seeds per minute
sim-long FROM="0" TO="20000":
    cargo run --release -p corten-sim --locked -- both {{FROM}} {{TO}}

# The parsers under libFuzzer, so many seconds each, or one of them for longer: needs a C++ compiler
fuzz SECONDS *TARGET:
    tests/fuzz/run {{SECONDS}} {{TARGET}}

# Build the image into out/image
image *ARGS:
    cargo build --release --locked -p corten -p corten-image
    target/release/corten-image build --out out/image {{ARGS}}

# The tests in virtual machines
vm *ARGS: image
    cargo test --release -p corten-vm --locked -- --test-threads=2 {{ARGS}}

# Everything, as CI runs it
all:
    tests/all

# The main job, as the README shows it
demo *ARGS:
    tests/demo {{ARGS}}

# The figures of the README, measured on this machine
bench-boot *ARGS: image
    cargo run --release -p corten-vm --locked -- bench-boot {{ARGS}}

# The scheduler's figures: 100,000 units over 10,000 machines, or as many as said: `just bench-schedule MACHINES UNITS`
bench-schedule *SIZE:
    cargo run --release -p corten-sim --locked -- bench {{SIZE}}

# What the heartbeats of 10,000 machines with 100,000 units cost the voters
bench-heartbeats:
    cargo test --workspace --release --locked --lib -- --ignored --nocapture bench_heartbeats

# What 1000 units cost us to create, start and destroy, without what systemd does
bench-units:
    cargo test --workspace --release --locked --lib -- --ignored --nocapture bench_many_units

# The store beside Debian's etcd-server; says how to get etcd and wrk if they are missing
bench-store *ARGS:
    cargo build --release --locked -p corten -p corten-image -p corten-vm
    PATH="$PATH:$PWD/out/tools/usr/bin" cargo run --release -p corten-store-bench --locked -- {{ARGS}}
