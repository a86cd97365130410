//! Imports point down, and `unsafe` stays in the files that are named for it. Read from the sources, so that no one has
//! to remember it.

use std::fs;
use std::path::Path;

/// The modules of `src`, lowest first. A module may import those of the layers above its own line here; modules on one
/// line never import each other.
const LAYERS: &[&[&str]] = &[
    &["error", "shuffle", "sync"],
    &["format", "storage"],
    &["element", "gather", "transfer"],
    &["open"],
    &["parts", "rows", "tail"],
    &["grow"],
    &["options"],
    &["inplace"],
    &["joining"],
    &["create"],
    &["append", "inspect", "read", "view"],
    &["background", "bookmark", "concat", "follow", "group", "repair"],
    &["batches"],
    &["ragged", "sequence"],
    &["dataset"],
];

/// The only files that may say `unsafe`, each with its reasons inside.
const UNSAFE: &[&str] = &[
    "npygrow/src/element.rs",
    "npygrow/src/view.rs",
    "npygrow/src/storage/fault.rs",
    "npygrow/src/storage/word.rs",
    "npygrow/src/storage/sys/linux.rs",
    "npygrow/src/storage/sys/windows.rs",
    "npygrow-python/src/convert.rs",
    "npygrow-python/src/arrow/c_data.rs",
];

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    let mut modules = Vec::new();
    for (file, text) in sources("npygrow/src") {
        if file == "npygrow/src/lib.rs" || file.ends_with("/models.rs") {
            continue;
        }
        let path = module_path(&file);
        faults.extend(import_faults(&path, &text).into_iter().map(|fault| format!("{file}: {fault}")));
        modules.push(path[0].clone());
    }
    for listed in LAYERS.concat() {
        if !modules.iter().any(|module| module == listed) {
            faults.push(format!("LAYERS lists `{listed}`, which is gone"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_stays_in_the_named_files() {
    let mut sources = sources("npygrow/src");
    for crate_source in ["npygrow-cli/src", "npygrow-python/src", "npygrow-testkit/src"] {
        sources.extend(self::sources(crate_source));
    }
    let elsewhere: Vec<_> = sources
        .iter()
        .filter(|(file, text)| says_unsafe(text) && !UNSAFE.contains(&file.as_str()))
        .map(|(file, _)| file)
        .collect();
    assert!(elsewhere.is_empty(), "`unsafe` outside of {UNSAFE:?}: {elsewhere:?}");
}

#[test]
fn each_fault_is_named() {
    let faults = |module: &str, text: &str| import_faults(&[module.to_owned()], text).join("; ");
    assert_eq!(faults("open", "use crate::{error::Result, storage::{File, Storage}};\nuse crate::format::Header;"), "");
    assert_eq!(
        faults("open", "//! [`x`](crate::append::Appender)\n#[cfg(test)]\nmod tests { use crate::append::X; }"),
        ""
    );
    assert_eq!(faults("open", "use crate::append::Appender;"), "`open` must not import `append`");
    assert_eq!(faults("read", "let x = crate::view::View::open(path);"), "`read` must not import `view`");
    assert_eq!(
        faults("format", "use crate::{\n    error::Result,\n    storage::Storage,\n};"),
        "`format` must not import `storage`"
    );
    assert_eq!(faults("read", "use super::view::View;"), "`super` leaves the module: write `crate::`");
    assert_eq!(faults("read", "use crate::Dtype;"), "`read` imports `Dtype` from the crate root: name its module");
    assert_eq!(faults("novel", ""), "`novel` has no place in LAYERS");
    assert!(says_unsafe("fn f() { unsafe { g() } }"));
    assert!(!says_unsafe("// unsafe\n#![allow(unsafe_code)]"));
}

/// What the text of the module at `path` (`["storage", "file"]`) imports that it must not.
fn import_faults(path: &[String], text: &str) -> Vec<String> {
    let module = path[0].as_str();
    let Some(own) = layer(module) else {
        return vec![format!("`{module}` has no place in LAYERS")];
    };
    // Unit tests may use whatever they like.
    let tests = ["#[cfg(test)]\nmod tests", "#[cfg(all(test, shuttle))]\nmod models {"];
    let code = code(tests.iter().fold(text, |text, tests| text.split(tests).next().unwrap_or(text)));
    let mut faults = Vec::new();
    for import in code.split("crate::").skip(1).flat_map(first_segments) {
        match layer(&import) {
            _ if import == module => {}
            Some(of) if of < own => {}
            Some(_) => faults.push(format!("`{module}` must not import `{import}`")),
            None => faults.push(format!("`{module}` imports `{import}` from the crate root: name its module")),
        }
    }
    // One `super` leads to the parent: as many as the path is long lead out of the module.
    if code.replace(char::is_whitespace, "").contains(&"super::".repeat(path.len())) {
        faults.push("`super` leaves the module: write `crate::`".to_owned());
    }
    faults
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// `storage::Storage;...` gives `storage`; `{error::Result, format::{A, B}}` gives `error` and `format`.
fn first_segments(after: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = after.strip_prefix('{') else {
        return vec![name(after)];
    };
    let mut depth = 0;
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|start| name(&group[start..])).filter(|name| !name.is_empty()).collect()
}

fn says_unsafe(text: &str) -> bool {
    code(text).split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

/// The text without comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// `npygrow/src/storage/sys/mod.rs` is `["storage", "sys"]`.
fn module_path(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("npygrow/src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The Rust files below `folder` of `crates/`, each with its text, named from there with forward slashes.
fn sources(folder: &str) -> Vec<(String, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut folders = vec![crates.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&crates).expect("below crates").to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}
