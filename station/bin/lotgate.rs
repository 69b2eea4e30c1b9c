//! `lotgate`: the station without a window. See `lotgate --help`.

fn main() -> std::process::ExitCode {
    lotgate_station::cli::main()
}
