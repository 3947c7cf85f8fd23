//! What a kernel's argument list asks for, read from naga's MSL: one argument a line, its source in `[[...]]`.

use crate::ShimError;

/// The C++ call that runs a kernel in namespace `space` for a whole grid.
pub fn launch(msl: &str, entry: &str, space: &str) -> Result<String, ShimError> {
    let head = format!("kernel void {entry}(\n");
    let (_, rest) = msl.split_once(&head).ok_or_else(|| ShimError::NoEntry { entry: entry.into() })?;
    let (arguments, _) = rest.split_once("\n) {").unwrap_or((rest, ""));
    let (mut sources, mut threadgroups) = (vec![], 0);
    for line in arguments.lines() {
        let argument = line.trim_start_matches([',', ' ']);
        let unknown = || ShimError::Argument { entry: entry.into(), argument: argument.into() };
        let attribute = argument.split_once("[[").and_then(|(_, a)| a.split_once("]]")).map(|(a, _)| a.trim());
        sources.push(match attribute {
            Some(a) => match a.strip_prefix("buffer(").and_then(|a| a.strip_suffix(')')) {
                Some(index) => format!("odc_shim::Buffer<{}>", index.parse::<u32>().map_err(|_| unknown())?),
                None if a.chars().all(|c| c.is_ascii_lowercase() || c == '_') => format!("odc_shim::{a}"),
                None => return Err(unknown()),
            },
            None if argument.starts_with("threadgroup ") => {
                // Metal numbers arguments without [[threadgroup(k)]] in their order.
                threadgroups += 1;
                format!("odc_shim::Threadgroup<{}>", threadgroups - 1)
            }
            None => return Err(unknown()),
        });
    }
    let fibers = meets(msl);
    let parameters: Vec<_> = [format!("{space}::{entry}"), fibers.to_string()].into_iter().chain(sources).collect();
    Ok(format!("odc_shim::launch<{}>(launch)", parameters.join(", ")))
}

/// Whether threads may wait for each other; those of other kernels need no fibers and run as a plain loop.
fn meets(msl: &str) -> bool {
    ["barrier(", "simd_", "simdgroup", "quad_"].iter().any(|w| msl.contains(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSL: &str = "kernel void f_(\n  metal::uint3 g [[thread_position_in_grid]]\n, device type_1 const& a [[buffer(0)]]\n, threadgroup type_2& t\n) {\n}";

    #[test]
    fn arguments_name_their_sources() {
        let call = launch(MSL, "f_", "k3").unwrap();
        let expected =
            "odc_shim::launch<k3::f_, false, odc_shim::thread_position_in_grid, odc_shim::Buffer<0>, odc_shim::Threadgroup<0>>(launch)";
        assert_eq!(call, expected);
    }

    #[test]
    fn unknown_arguments_and_kernels_are_errors() {
        assert_eq!(launch(MSL, "f", "k"), Err(ShimError::NoEntry { entry: "f".into() }));
        let odd = MSL.replace("threadgroup type_2& t", "float4 x [[position, invariant]]");
        assert!(matches!(launch(&odd, "f_", "k"), Err(ShimError::Argument { .. })));
    }
}
