#!/usr/bin/env bash
# The compiled engine: rust.sh lint | test | install PYTHON STAMP | wheel PYTHON FOLDER
#
# `install` touches STAMP only when the engine was built, so that a cargo installed later is noticed.
# A missing or older cargo is named and left at that, for the readable engine in Python does the same
# work; in CI it is an error. A compile error is always an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binding=crates/binding/Cargo.toml
needed=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' crates/engine/Cargo.toml)

without_cargo() {
    echo "madang-core: $1; the engine in Python runs instead" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

command -v cargo >/dev/null || without_cargo "no cargo found (needs $needed or newer)"
found=$(cargo --version | cut -d ' ' -f 2)
oldest=$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)
[ "$oldest" = "$needed" ] || without_cargo "cargo $found is older than $needed"

wheel() { # PYTHON FOLDER
    "$1" -m maturin build --release --quiet --manifest-path "$binding" --interpreter "$1" --out "$2"
}

case "$1" in
lint)
    cargo fmt --all --check
    cargo clippy --quiet --workspace --all-targets -- --deny warnings
    ;;
test)
    cargo test --quiet --package madang-engine
    ;;
install)
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    wheel "$2" "$folder"
    "$2" -m pip install --quiet --force-reinstall --no-deps "$folder"/*.whl
    touch "$3"
    ;;
wheel)
    wheel "$2" "$3"
    ;;
*)
    echo "rust.sh: unknown command $1" >&2
    exit 2
    ;;
esac
