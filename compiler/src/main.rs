//! The command `odc`; everything is in the library, so that other programs can compile models too.

fn main() -> std::process::ExitCode {
    odc::cli::main()
}
