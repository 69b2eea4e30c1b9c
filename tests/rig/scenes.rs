//! Stations in every situation that a person can meet, as values: each [`Scene`] is what the station would show
//! then, made by the same function as in the product. The ui must draw them all without cutting anything off.
//!
//! Most exist twice: with usual values, and with the longest that can occur.

mod devices;
mod enrol;
mod fault;
mod label;
mod scan;
mod site;
mod words;

use lotgate_station::screen::{Known, Screen, ScreenLanguage, compose};
use serde::Serialize;

/// A situation with its name.
#[derive(Debug, Clone)]
pub struct Scene {
    name: String,
    words_only: bool,
    known: Known,
    revision: u64,
}

/// What a person sees of a scene.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// Lower case and hyphens.
    pub name: String,
    /// Only its words are measured; another scene shows their layout with everything else.
    pub words_only: bool,
    /// What is shown.
    pub screen: Screen,
}

impl Scene {
    /// Its screen in a language.
    #[must_use]
    pub fn seen(&self, language: ScreenLanguage) -> Seen {
        let mut screen = compose(&Known { language, ..self.known.clone() });
        screen.revision = self.revision;
        Seen { name: self.name.clone(), words_only: self.words_only, screen }
    }
}

/// The scene of that name.
#[must_use]
pub fn named<'a>(scenes: &'a [Scene], name: &str) -> Option<&'a Scene> {
    scenes.iter().find(|scene| scene.name == name)
}

/// Every scene; names are unique.
#[must_use]
pub fn all() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for values in [site::USUAL, site::LONGEST] {
        scenes.extend(enrol::scenes(&values));
        scenes.extend(scan::scenes(&values));
        scenes.extend(label::scenes(&values));
        scenes.extend(devices::scenes(&values));
        scenes.extend(fault::scenes(&values));
    }
    scenes.extend(words::scenes());
    for (number, scene) in (1..).zip(&mut scenes) {
        scene.revision = number;
    }
    scenes
}

fn scene(name: &str, suffix: &str, known: &Known) -> Scene {
    Scene { name: format!("{name}{suffix}"), words_only: false, known: known.clone(), revision: 0 }
}
