//! The ui's types are those of this crate: `ui/src/backend/types.ts` is written here and may not drift.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Request, Screen};
use std::collections::BTreeMap;
use std::path::Path;
use ts_rs::{Config, TS, TypeVisitor};

/// Set to write the file instead of comparing it.
const WRITE: &str = "LOTGATE_WRITE_TYPES";
const HEADER: &str = "// Made from station/src/screen.rs. To write it anew: LOTGATE_WRITE_TYPES=1 cargo test -p lotgate-station types\n";

/// Declarations of a type and of everything that it is made of, by name: the order in which ts-rs visits them is not
/// the same in every build.
struct Declarations {
    config: Config,
    by_name: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // What has no file of its own is TypeScript's: string, null, an array.
        if T::output_path().is_some() {
            let name = T::ident(&self.config);
            if self.by_name.contains_key(&name) {
                return;
            }
            let docs = T::docs().unwrap_or_default();
            self.by_name.insert(name, format!("\n{docs}export {}\n", T::decl(&self.config)));
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

fn declarations() -> String {
    let mut all = Declarations { config: Config::new(), by_name: BTreeMap::new() };
    all.visit::<Screen>();
    all.visit::<Request>();
    let text = HEADER.to_owned() + &all.by_name.into_values().collect::<String>();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn the_types_of_the_ui_are_those_of_the_screen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/backend/types.ts");
    let made = declarations();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is not what station/src/screen.rs says: write it with {WRITE}=1",
        path.display()
    );
}
