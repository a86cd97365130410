//! Patterns of file names, in the order in which people count.

use npygrow::{Error, ErrorKind, Result};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The files that `paths` name, in this order; those of one pattern sorted. A file of just that name is no pattern.
/// `must_match`: a pattern that matches nothing is an error.
pub(super) fn expand(paths: &[PathBuf], must_match: bool) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if !is_pattern(path.as_os_str()) || path.symlink_metadata().is_ok() {
            all.push(path.clone());
            continue;
        }
        let mut found = vec![PathBuf::new()];
        let components: Vec<_> = path.components().collect();
        for (at, component) in components.iter().enumerate() {
            let last = at + 1 == components.len();
            found = found.iter().flat_map(|folder| step(folder, *component, last)).collect();
        }
        if found.is_empty() && must_match {
            let text = "no file matches this pattern";
            return Err(Error::new(ErrorKind::Mismatch, text).at(path.display()));
        }
        found.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
        found.dedup();
        all.extend(found);
    }
    Ok(all)
}

fn is_pattern(name: &OsStr) -> bool {
    name.to_string_lossy().contains(['*', '?', '['])
}

/// What `component` of a pattern leads to from `folder`.
fn step(folder: &Path, component: Component<'_>, last: bool) -> Vec<PathBuf> {
    let name = component.as_os_str();
    let Component::Normal(_) = component else { return vec![folder.join(name)] };
    if !is_pattern(name) {
        let path = folder.join(name);
        return if last && path.symlink_metadata().is_err() { Vec::new() } else { vec![path] };
    }
    let pattern: Vec<char> = name.to_string_lossy().chars().collect();
    if name == "**" && !last {
        let mut below = vec![folder.to_path_buf()];
        let mut next = 0;
        while next < below.len() {
            below.extend(
                entries(&below[next].clone()).filter(|path| path.is_dir() && !path.is_symlink() && !is_hidden(path)),
            );
            next += 1;
        }
        return below;
    }
    let matching = |path: &PathBuf| {
        let name: Vec<char> = path.file_name().unwrap_or_default().to_string_lossy().chars().collect();
        // As in a shell, what is hidden must be asked for.
        (name.first() != Some(&'.') || pattern.first() == Some(&'.')) && matches(&pattern, &name)
    };
    entries(folder).filter(matching).filter(|path| path.is_dir() != last).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = fs::read_dir(here).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    names.map(|name| folder.join(name))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether `name` is as `pattern` says: `*` any characters, `?` one, `[a-z]` one of these, `[!a-z]` one of the others.
fn matches(pattern: &[char], name: &[char]) -> bool {
    // Where to go on after a mismatch: the last `*` takes one character more.
    let (mut p, mut n, mut again) = (0, 0, None);
    while n < name.len() {
        let one = match pattern.get(p) {
            Some('*') => {
                again = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => class(pattern, p, name[n]),
            Some(&c) => (c == name[n]).then_some(p + 1),
            None => None,
        };
        match (one, again) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((star, taken))) => {
                again = Some((star, taken + 1));
                (p, n) = (star + 1, taken + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Where the pattern goes on after the class at `start`, if `c` is one of it. Without an end `[` is itself.
fn class(pattern: &[char], start: usize, c: char) -> Option<usize> {
    let inverted = matches!(pattern.get(start + 1), Some('!' | '^'));
    let first = start + 1 + usize::from(inverted);
    // A `]` that comes first is one of the class.
    let Some(end) = pattern.iter().skip(first + 1).position(|&c| c == ']').map(|at| first + 1 + at) else {
        return (c == '[').then_some(start + 1);
    };
    let (mut at, mut within) = (first, false);
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            within |= (pattern[at]..=pattern[at + 2]).contains(&c);
            at += 3;
        } else {
            within |= pattern[at] == c;
            at += 1;
        }
    }
    (within != inverted).then_some(end + 1)
}

/// Runs of digits by their value, the rest by its characters; what is the same then, as it is written.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(l), Some(r)) = (left.chars().next(), right.chars().next()) {
        let (order, l, r) = if l.is_ascii_digit() && r.is_ascii_digit() {
            let (l, r) = (digits(left), digits(right));
            let (x, y) = (l.trim_start_matches('0'), r.trim_start_matches('0'));
            (x.len().cmp(&y.len()).then(x.cmp(y)), l.len(), r.len())
        } else {
            (l.cmp(&r), l.len_utf8(), r.len_utf8())
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (&left[l..], &right[r..]);
    }
    left.len().cmp(&right.len()).then(a.cmp(b))
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns() {
        let is = |pattern: &str, name: &str| {
            let [pattern, name] = [pattern, name].map(|text| text.chars().collect::<Vec<_>>());
            matches(&pattern, &name)
        };
        for (pattern, name) in [
            ("*", ""),
            ("*.npy", "a.npy"),
            ("a*b*c", "a-b-b-c"),
            ("?", "数"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("[a", "[a"),
        ] {
            assert!(is(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.npy", "a.npyx"),
            ("?", ""),
            ("?", "ab"),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("a*b*c", "a-c-b"),
            ("", "a"),
        ] {
            assert!(!is(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn numbers_count() {
        let mut names = ["p-10", "p-2", "p-1b", "p-01", "p-1", "p", "q-1", "p-99999999999999999999", "p-100"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["p", "p-01", "p-1", "p-1b", "p-2", "p-10", "p-100", "p-99999999999999999999", "q-1"]);
    }

    #[test]
    fn folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("d2/e")).unwrap();
        fs::create_dir_all(at("d10")).unwrap();
        for name in ["d10/a.npy", "d2/a.npy", "d2/e/a.npy", "a*.npy", ".hidden.npy", "x.npy"] {
            fs::write(at(name), b"").unwrap();
        }
        let names = |pattern: &str, must_match| {
            let found = expand(&[at(pattern)], must_match)?;
            let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
            Ok::<_, Error>(found.iter().map(name).collect::<Vec<_>>())
        };
        assert_eq!(names("d*/a.npy", true).unwrap(), ["d2/a.npy", "d10/a.npy"]);
        assert_eq!(names("**/a.npy", true).unwrap(), ["d2/a.npy", "d2/e/a.npy", "d10/a.npy"]);
        assert_eq!(names("*.npy", true).unwrap(), ["a*.npy", "x.npy"]);
        assert_eq!(names("a*.npy", true).unwrap(), ["a*.npy"], "a file of that very name");
        assert_eq!(names("missing.npy", true).unwrap(), ["missing.npy"]);
        assert_eq!(names(".h*", true).unwrap(), [".hidden.npy"]);
        assert_eq!(names("n*", false).unwrap(), [""; 0]);
        let error = names("n*", true).unwrap_err();
        assert_eq!(error.detail(), "no file matches this pattern");
    }
}
