//! Models of the races in sharing-bus, run by loom over the shipped sources; see `tests/`.
