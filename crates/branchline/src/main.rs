//! The binary: all of it is in `branchline::cli`.

fn main() -> std::process::ExitCode {
    branchline::cli::main()
}
