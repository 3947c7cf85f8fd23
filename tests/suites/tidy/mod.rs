//! What the sources promise and no compiler checks: which crate may use which, how long files are, what they say at their top,
//! that nothing panics outside tests, that documents are true and complete.

mod docs;
mod edges;
mod layout;
mod sources;

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// All files of the repository with one of these extensions, build outputs and hidden folders left out, as paths from the root.
pub fn files(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|e| e.path()) {
            let name = path.file_name().map(|n| n.to_string_lossy().to_string()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" && name != "out" {
                walk(&path, out);
            } else if path.is_file() {
                out.push(path);
            }
        }
    }
    let mut paths = vec![];
    walk(&root(), &mut paths);
    paths.sort();
    let wanted = |p: &PathBuf| p.extension().is_some_and(|e| extensions.iter().any(|x| e == *x));
    let read = |p: PathBuf| Some((p.strip_prefix(root()).ok()?.to_path_buf(), std::fs::read_to_string(&p).ok()?));
    paths.into_iter().filter(wanted).filter_map(read).collect()
}

/// Fails with all problems at once.
pub fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
