//! Runs all file tests. One folder: `ODC_FILETEST=verify cargo test -p odc-tests files`; `ODC_BLESS=1` rewrites expectations.

use crate::tidy::root;
use odc_tests::filetest::{files, run_file};

#[test]
fn file_tests() {
    let folder = root().join("tests/filetests");
    let only = std::env::var("ODC_FILETEST").unwrap_or_default();
    let bless = std::env::var_os("ODC_BLESS").is_some();
    let all = files(&folder).expect("the folder of file tests is there");
    assert!(!all.is_empty());
    let name = |p: &std::path::Path| p.strip_prefix(&folder).unwrap_or(p).display().to_string();
    let chosen: Vec<_> = all.iter().filter(|p| name(p).contains(&only)).collect();
    let failed: Vec<_> = chosen.iter().filter_map(|p| run_file(p, bless).err().map(|e| format!("--- {}\n{e}", name(p)))).collect();
    assert!(failed.is_empty(), "{} of {} file tests failed\n{}", failed.len(), chosen.len(), failed.join("\n"));
}
