//! What the window's page can reach and do, word by word (SES-4): whoever opens it wider has to say so here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Every command of the page.
const COMMANDS: &[&str] = &["screen", "request", "painted"];

fn text(path: &str) -> String {
    let path = Path::new(ROOT).join("src-tauri").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

/// Names of what lies in a folder of src-tauri.
fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(ROOT).join("src-tauri").join(folder)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The sources of the window, by path.
fn sources() -> Vec<(PathBuf, String)> {
    let path = |name: &String| Path::new("src").join(name);
    names("src").iter().map(|name| (path(name), text(&format!("src/{name}")))).collect()
}

fn metadata() -> Metadata {
    let only = ["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()];
    MetadataCommand::new()
        .manifest_path(Path::new(ROOT).join("Cargo.toml"))
        .other_options(only)
        .exec()
        .unwrap()
}

/// What stands in brackets after `before`, its elements without quotation marks and module.
fn list<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before}"));
    let (inside, _) = rest.split_once(']').unwrap();
    inside.split(',').map(|item| item.trim().trim_matches('"').trim_start_matches("commands::")).collect()
}

#[test]
fn the_page_reaches_three_commands_and_one_event() {
    assert_eq!(names("capabilities"), ["main.json"]);
    let commands = COMMANDS.iter().map(|command| format!("allow-{command}"));
    let events = ["core:event:allow-listen", "core:event:allow-unlisten"].map(str::to_owned);
    let permissions: Vec<_> = commands.chain(events).collect();
    let mut capability = document("capabilities/main.json");
    capability.as_object_mut().unwrap().remove("description");
    assert_eq!(
        capability,
        json!({
            "$schema": "https://schema.tauri.app/config/2/capability",
            "identifier": "main",
            "local": true,
            "windows": ["main"],
            "permissions": permissions,
        })
    );
}

#[test]
fn commands_are_declared_handled_and_written_alike() {
    assert_eq!(list(&text("build.rs"), "const COMMANDS: &[&str] = &["), COMMANDS);
    assert_eq!(list(&text("src/main.rs"), "generate_handler!["), COMMANDS);
    let attribute = "#[tauri::command]\npub(crate) fn ";
    for (path, source) in sources() {
        let here = path.ends_with("commands.rs");
        let written: Vec<_> =
            source.split(attribute).skip(1).map(|rest| rest.split('(').next().unwrap()).collect();
        assert_eq!(written, if here { COMMANDS } else { &[] }, "{}", path.display());
        assert_eq!(source.matches("tauri::command").count(), written.len(), "{}", path.display());
        let handlers = usize::from(path.ends_with("main.rs"));
        assert_eq!(source.matches("generate_handler!").count(), handlers, "{}", path.display());
    }
}

#[test]
fn the_configuration_of_the_window_is_the_strict_one() {
    let policy = "default-src 'self'; connect-src ipc: http://ipc.localhost; img-src 'self' data:; \
                  style-src 'self'; script-src 'self'; object-src 'none'; frame-src 'none'; base-uri 'none'; \
                  form-action 'none'";
    let features = "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), \
                    bluetooth=(), payment=(), clipboard-read=()";
    let configuration = document("tauri.conf.json");
    assert_eq!(
        configuration["app"],
        json!({
            "withGlobalTauri": false,
            "windows": [],
            "security": {
                "capabilities": ["main"],
                "csp": policy,
                "freezePrototype": true,
                "headers": {
                    "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Resource-Policy": "same-origin",
                    "Permissions-Policy": features,
                    "X-Content-Type-Options": "nosniff",
                },
            },
        })
    );
    // No address of a development server: what is shown is what was built.
    assert_eq!(configuration["build"], json!({ "frontendDist": "../ui/dist", "removeUnusedCommands": true }));
    assert!(configuration.get("plugins").is_none(), "no plugin is configured");
    let cargo = std::fs::read_to_string(Path::new(ROOT).join(".cargo/config.toml")).unwrap();
    let unused = "REMOVE_UNUSED_COMMANDS = { value = \"src-tauri\", relative = true }";
    assert!(cargo.contains(unused), "Tauri's other commands are compiled in");
}

#[test]
fn the_window_is_opened_locked() {
    let window = text("src/window.rs");
    for lock in [
        ".decorations(false)",
        ".resizable(false)",
        ".closable(false)",
        ".on_navigation(is_own)",
        ".on_new_window(|_, _| NewWindowResponse::Deny)",
        ".on_download(|_, _| false)",
        ".on_permission_request(|_, _| PermissionResponse::Deny)",
        ".disable_drag_drop_handler()",
        ".general_autofill_enabled(false)",
        ".zoom_hotkeys_enabled(false)",
        ".browser_extensions_enabled(false)",
        ".devtools(false)",
        "over_the_whole_screen(app, window)?.incognito(true)",
        "window.fullscreen(true).always_on_top(true)",
    ] {
        assert!(window.contains(lock), "{lock} is gone");
    }
    for (path, source) in sources() {
        let opened = usize::from(path.ends_with("window.rs"));
        let builders = source.matches("WebviewWindowBuilder::new").count();
        assert_eq!(builders, opened, "{} opens windows", path.display());
        for way_out in
            ["open_devtools", "add_capability", "initialization_script", ".eval(", "register_uri_scheme"]
        {
            assert!(!source.contains(way_out), "{} holds {way_out}", path.display());
        }
    }
}

#[test]
fn tauri_comes_without_plugins_and_developer_tools() {
    let metadata = metadata();
    let kiosk = metadata.packages.iter().find(|package| package.name.as_str() == "lotgate-kiosk").unwrap();
    let on: BTreeSet<_> = kiosk
        .dependencies
        .iter()
        .map(|dependency| dependency.name.as_str())
        .filter(|name| name.starts_with("tauri"))
        .collect();
    assert_eq!(on, BTreeSet::from(["tauri", "tauri-build"]));
    assert!(
        metadata.packages.iter().all(|package| !package.name.starts_with("tauri-plugin")),
        "a plugin came along"
    );
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let features = |name: &str| -> BTreeSet<String> {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap();
        let node = nodes.iter().find(|node| node.id == package.id).unwrap();
        node.features.iter().map(ToString::to_string).collect()
    };
    for name in ["tauri", "tauri-runtime", "tauri-runtime-wry", "wry"] {
        for feature in ["devtools", "dynamic-acl", "unstable", "protocol-asset", "isolation"] {
            assert!(!features(name).contains(feature), "{name} has {feature}");
        }
    }
    // Without it a debug build would ask a development server for its page.
    assert!(features("tauri").contains("custom-protocol"));
}

#[test]
fn plain_cargo_needs_no_webkit() {
    let metadata = metadata();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let members = &metadata.workspace_default_members;
    let (mut seen, mut waiting): (BTreeSet<_>, Vec<_>) = (BTreeSet::new(), members.iter().collect());
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            waiting.extend(&nodes.iter().find(|node| node.id == *id).unwrap().dependencies);
        }
    }
    let name = |id: &cargo_metadata::PackageId| {
        metadata.packages.iter().find(|package| package.id == *id).unwrap().name.as_str()
    };
    let names: BTreeSet<_> = seen.into_iter().map(name).collect();
    for wrong in ["lotgate-kiosk", "tauri", "webkit2gtk", "gtk-sys"] {
        assert!(!names.contains(wrong), "plain cargo builds {wrong}");
    }
    assert!(names.contains("lotgate-station"), "the graph was walked");
}
