# The commands that everyone types.

# Everything that must hold before a change lands
test:
    scripts/test

# The made-up company
demo:
    cargo run -- demo

# The benchmarks, one after another
bench:
    cargo bench
