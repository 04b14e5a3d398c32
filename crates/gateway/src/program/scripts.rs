//! Which program a URL names, below a directory of them: the longest part of its path that is a
//! file; what follows is its `PATH_INFO`.
//!
//! Law: nothing outside of the directory is ever found, by `..` or by a link, nor what begins with
//! a dot.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// A file that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The file, with every link followed.
    pub(crate) file: PathBuf,
    /// The part of the path that names it.
    pub(crate) name: String,
    /// What follows.
    pub(crate) info: String,
}

/// Looks for the file that a path names. `root` is canonical.
pub(crate) fn find(root: &Path, path: &str) -> Option<Found> {
    let path = percent_decode_str(path).decode_utf8().ok()?.into_owned();
    let mut file = root.to_owned();
    let mut end = 0;
    for segment in path.split('/').skip(1) {
        end += 1 + segment.len();
        if segment.is_empty() {
            continue;
        }
        if segment.starts_with('.') || segment.contains(['\0', '\\']) {
            return None;
        }
        file.push(segment);
        let whole = file.canonicalize().ok().filter(|whole| whole.starts_with(root))?;
        let metadata = whole.metadata().ok()?;
        if metadata.is_file() {
            let (name, info) = path.split_at(end);
            return Some(Found { file: whole, name: name.to_owned(), info: info.to_owned() });
        }
        if !metadata.is_dir() {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_directory_is_found() {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        let root = base.join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        for file in ["root/a.sh", "root/sub/b c.sh", "root/.hidden", "outside.sh"] {
            std::fs::write(base.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(base.join("outside.sh"), root.join("escape")).unwrap();
        std::os::unix::fs::symlink(root.join("a.sh"), root.join("link")).unwrap();
        let found = |path: &str| {
            find(&root, path).map(|found| {
                let file = found.file.strip_prefix(&root).unwrap().display().to_string();
                (file, found.name, found.info)
            })
        };
        let parts = |file: &str, name: &str, info: &str| {
            Some((file.to_owned(), name.to_owned(), info.to_owned()))
        };
        assert_eq!(found("/a.sh"), parts("a.sh", "/a.sh", ""));
        assert_eq!(found("/a.sh/more/x"), parts("a.sh", "/a.sh", "/more/x"));
        assert_eq!(found("/a.sh/"), parts("a.sh", "/a.sh", "/"));
        assert_eq!(found("/sub/b%20c.sh"), parts("sub/b c.sh", "/sub/b c.sh", ""));
        assert_eq!(found("//sub//b%20c.sh"), parts("sub/b c.sh", "//sub//b c.sh", ""));
        assert_eq!(found("/link"), parts("a.sh", "/link", ""));
        for path in [
            "/",
            "/sub",
            "/nope",
            "/escape",
            "/.hidden",
            "/../outside.sh",
            "/%2e%2e/outside.sh",
            "/sub/../a.sh",
            "/sub/%2e%2e/a.sh",
            "/a.sh%00",
            "/sub%5cb",
            "/%ff",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
