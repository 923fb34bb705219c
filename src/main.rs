//! Hands the arguments on, exits with the code.

fn main() -> std::process::ExitCode {
    serin::cli::main()
}
