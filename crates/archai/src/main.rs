//! The `archai` program: the whole command line, with the built-in algorithms.

fn main() -> std::process::ExitCode {
    archai::cli::run(archai::algos::all())
}
